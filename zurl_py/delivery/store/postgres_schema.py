"""The schema ``zurl`` in PostgreSQL, by versions, and the function for applications.

A migration is one transaction of the process that starts first; others wait for it. Migrations only
add to the schema, so processes of the previous version can go on working.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg

from .base import StoreError

__all__ = ["COUNT_ALL", "LATEST", "migrate"]

_LOCK: Final = 0x5A55524C  # "ZURL": key of the advisory lock for migrations

# Times are seconds since 1970, as everywhere else. owner: the process that has it leased.
_TABLES: Final = """
CREATE TABLE zurl.setting (name text PRIMARY KEY, value text NOT NULL);

CREATE TABLE zurl.endpoint (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    settings text NOT NULL,
    secrets bytea,
    disabled text NOT NULL DEFAULT '',
    hold_until float8 NOT NULL DEFAULT 0,
    failing_since float8 NOT NULL DEFAULT 0,
    noticed integer NOT NULL DEFAULT 0,
    deleted smallint NOT NULL DEFAULT 0,
    ordered text NOT NULL DEFAULT 'none',
    first_wait float8 NOT NULL DEFAULT 0,
    changed timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX endpoint_name ON zurl.endpoint (name) WHERE deleted = 0;
CREATE INDEX endpoint_changed ON zurl.endpoint (changed);

CREATE TABLE zurl.process (
    owner bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alive_until float8 NOT NULL
);

CREATE TABLE zurl.delivery (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE,
    endpoint bigint NOT NULL,
    state smallint NOT NULL DEFAULT 0,
    blocked smallint NOT NULL DEFAULT 0,
    due float8 NOT NULL,
    attempt integer NOT NULL DEFAULT 0,
    tries integer NOT NULL DEFAULT 0,
    size integer NOT NULL,
    accepted float8 NOT NULL,
    expires float8,
    forget float8,
    okey text,
    reason text,
    owner bigint,
    fence bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX delivery_due ON zurl.delivery (endpoint, due)
    WHERE state = 0 AND blocked = 0 AND owner IS NULL;
CREATE INDEX delivery_owner ON zurl.delivery (owner) WHERE owner IS NOT NULL;
CREATE INDEX delivery_expires ON zurl.delivery (expires)
    WHERE expires IS NOT NULL AND (state = 0 OR blocked = 2);
CREATE INDEX delivery_forget ON zurl.delivery (forget) WHERE forget IS NOT NULL;
CREATE INDEX delivery_key ON zurl.delivery (endpoint, okey, seq)
    WHERE okey IS NOT NULL AND (state = 0 OR blocked = 2);

CREATE TABLE zurl.payload (
    seq bigint PRIMARY KEY,
    event text,
    key text,
    headers jsonb,
    secrets bytea,
    body bytea NOT NULL
);

CREATE TABLE zurl.attempt (
    seq bigint NOT NULL,
    number integer NOT NULL,
    time float8 NOT NULL,
    code integer NOT NULL,
    condition text NOT NULL,
    error text NOT NULL,
    phases text NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (seq, number)
);
"""

_FUNCTIONS: Final = r"""
CREATE FUNCTION zurl.new_id() RETURNS text LANGUAGE sql VOLATILE AS $$
    -- A UUID of version 7 (RFC 9562): 48 bits of milliseconds, then the bits of one of version 4
    -- with the version's number made 7.
    SELECT 'msg_' || encode(set_bit(set_bit(overlay(
        uuid_send(gen_random_uuid())
        PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
        FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid::text
$$;

CREATE FUNCTION zurl.header_pairs(headers jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    pairs jsonb;
    pair jsonb;
BEGIN
    IF headers IS NULL OR jsonb_typeof(headers) = 'null' THEN
        RETURN NULL;
    ELSIF jsonb_typeof(headers) = 'object' THEN
        SELECT jsonb_agg(jsonb_build_array(key, value) ORDER BY key) INTO pairs
        FROM jsonb_each(headers);
    ELSIF jsonb_typeof(headers) = 'array' THEN
        pairs := nullif(headers, '[]'::jsonb);
    ELSE
        RAISE EXCEPTION 'zurl.deliver: headers: must be an object or a list of [name, value]'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR pair IN SELECT jsonb_array_elements(pairs) LOOP
        IF jsonb_typeof(pair) <> 'array' OR jsonb_array_length(pair) <> 2
            OR jsonb_typeof(pair -> 0) <> 'string' OR jsonb_typeof(pair -> 1) <> 'string'
            OR pair ->> 0 !~ '^[!#$%&''*+.^_`|~0-9A-Za-z-]+$' OR pair ->> 0 ~* '^webhook-'
            OR pair ->> 1 ~ '[\r\n]'
        THEN
            RAISE EXCEPTION 'zurl.deliver: headers: % cannot be used', pair
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END LOOP;
    RETURN pairs;
END
$$;
"""

_DELIVER: Final = r"""
-- SECURITY DEFINER: an application needs the right to execute this, and none to the tables.
CREATE OR REPLACE FUNCTION zurl.deliver(
    endpoint text,
    body bytea,
    id text DEFAULT NULL,
    event text DEFAULT NULL,
    headers jsonb DEFAULT NULL,
    key text DEFAULT NULL,
    expires interval DEFAULT NULL
) RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = zurl, pg_temp AS $$
#variable_conflict use_column
DECLARE
    target zurl.endpoint%ROWTYPE;
    moment float8 := extract(epoch FROM clock_timestamp());
    lifetime float8 := extract(epoch FROM deliver.expires);
    made text := coalesce(deliver.id, zurl.new_id());
    pairs jsonb := zurl.header_pairs(deliver.headers);
    most bigint := (SELECT value::bigint FROM zurl.setting WHERE name = 'max_body');
    ordered_by text;
    waits smallint := 0;
    number bigint;
    same boolean;
BEGIN
    SELECT * INTO target FROM zurl.endpoint e WHERE e.name = deliver.endpoint AND e.deleted = 0;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'zurl.deliver: unknown-endpoint: there is no endpoint %',
            quote_nullable(deliver.endpoint) USING ERRCODE = 'no_data_found';
    END IF;
    IF deliver.body IS NULL THEN
        RAISE EXCEPTION 'zurl.deliver: body is needed' USING ERRCODE = 'null_value_not_allowed';
    ELSIF octet_length(deliver.body) > most THEN
        RAISE EXCEPTION 'zurl.deliver: body: must be at most % bytes, and has %', most,
            octet_length(deliver.body) USING ERRCODE = 'invalid_parameter_value';
    ELSIF made !~ '^[A-Za-z0-9_-]{1,128}$' THEN
        RAISE EXCEPTION 'zurl.deliver: id: must be 1 to 128 of A-Z a-z 0-9 _ -'
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF deliver.event ~ '[\r\n]' OR octet_length(deliver.event) NOT BETWEEN 1 AND 1024 THEN
        RAISE EXCEPTION 'zurl.deliver: event: must be 1 to 1024 bytes without CR, LF'
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF octet_length(deliver.key) > 1024 THEN
        RAISE EXCEPTION 'zurl.deliver: key: must be at most 1024 bytes'
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF lifetime <= 0 THEN
        RAISE EXCEPTION 'zurl.deliver: expires: must be an interval above 0'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    ordered_by := CASE target.ordered WHEN 'key' THEN deliver.key WHEN 'endpoint' THEN '' END;
    IF ordered_by IS NOT NULL THEN
        -- Until the application commits: the order of commits is the order of delivery.
        PERFORM pg_advisory_xact_lock(hashtextextended(target.id || ':' || ordered_by, 0));
        SELECT count(*) > 0 INTO same FROM zurl.delivery d WHERE d.endpoint = target.id
            AND d.okey = ordered_by AND d.okey IS NOT NULL AND (d.state = 0 OR d.blocked = 2);
        waits := same::int;
    END IF;
    INSERT INTO zurl.delivery (id, endpoint, blocked, due, size, accepted, expires, okey)
    VALUES (made, target.id, waits, moment + target.first_wait, octet_length(deliver.body),
        moment, moment + lifetime, ordered_by)
    ON CONFLICT (id) DO NOTHING RETURNING seq INTO number;
    IF number IS NOT NULL THEN
        INSERT INTO zurl.payload (seq, event, key, headers, body)
        VALUES (number, deliver.event, deliver.key, pairs, deliver.body);
        INSERT INTO zurl.change (endpoint, pending) VALUES (target.id, 1);
        PERFORM pg_notify('zurl', target.id::text);
        RETURN made;
    END IF;
    SELECT d.endpoint = target.id AND p.body = deliver.body
        AND p.event IS NOT DISTINCT FROM deliver.event
        AND p.key IS NOT DISTINCT FROM deliver.key AND p.headers IS NOT DISTINCT FROM pairs
    INTO same FROM zurl.delivery d JOIN zurl.payload p USING (seq) WHERE d.id = made;
    IF NOT coalesce(same, false) THEN
        RAISE EXCEPTION 'zurl.deliver: conflict: the id % is another message''s', made
            USING ERRCODE = 'unique_violation';
    END IF;
    RETURN made;
END
$$;
"""

COUNT_ALL: Final = """
INSERT INTO zurl.counter
SELECT endpoint, count(*) FILTER (WHERE state = 0),
    count(*) FILTER (WHERE state = 1), count(*) FILTER (WHERE state = 2)
FROM zurl.delivery GROUP BY endpoint
"""

# Numbers of deliveries in each state, without reading all rows: each transaction appends its
# changes to a log, and the sweep adds the log to the table.
_COUNTERS: Final = """
LOCK TABLE zurl.delivery IN SHARE MODE;
CREATE INDEX delivery_dead ON zurl.delivery (seq) WHERE state = 2;
CREATE TABLE zurl.counter (
    endpoint bigint PRIMARY KEY,
    pending bigint NOT NULL,
    done bigint NOT NULL,
    dead bigint NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE zurl.change (
    endpoint bigint NOT NULL,
    pending bigint NOT NULL DEFAULT 0,
    done bigint NOT NULL DEFAULT 0,
    dead bigint NOT NULL DEFAULT 0
);
"""

# Of each key the delivery that is sent or may be sent, which is asked when others are replayed.
_OPEN: Final = """
CREATE INDEX delivery_open ON zurl.delivery (endpoint, okey)
    WHERE okey IS NOT NULL AND state = 0 AND blocked = 0
"""

MIGRATIONS: Final = (_TABLES + _FUNCTIONS, _COUNTERS + COUNT_ALL + ";" + _DELIVER, _OPEN)
LATEST: Final = len(MIGRATIONS)
"""The version of the schema after all migrations."""


def migrate(connection: psycopg.Connection[Any]) -> None:
    """Bring the schema to the latest version, if it is not.

    Raises:
        StoreError: it has a later version than this program knows.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        # Not executed if it exists: operators may not grant CREATE to this user.
        if not _exists(connection):
            connection.execute("CREATE SCHEMA IF NOT EXISTS zurl")
            connection.execute(
                "CREATE TABLE zurl.migration (version integer PRIMARY KEY,"
                " at timestamptz NOT NULL DEFAULT now())"
            )
        row = connection.execute("SELECT max(version) FROM zurl.migration").fetchone()
        version = (row and row[0]) or 0
        if version > LATEST:
            raise StoreError(
                f"store: the schema zurl is of version {version}, and this program knows {LATEST}"
            )
        for number, statements in enumerate(MIGRATIONS[version:], version + 1):
            # A migration that waits for a long transaction would block all other statements.
            connection.execute("SET LOCAL lock_timeout = '5s'")
            connection.execute(statements)
            connection.execute("INSERT INTO zurl.migration (version) VALUES (%s)", (number,))


def _exists(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute("SELECT to_regclass('zurl.migration') IS NOT NULL").fetchone()
    return bool(row and row[0])

/* The worker's side of the measurements: keeps a number of requests in flight and reads the clocks.
 *
 *   driver req    ENDPOINTS PID MESSAGES COUNT IN_FLIGHT WARM_UP
 *   driver paced  ENDPOINTS PID MESSAGES COUNT RATE WARM_UP
 *   driver stream ENDPOINTS PID MESSAGES COUNT IN_FLIGHT WARM_UP
 *   driver push   ENDPOINTS PID MESSAGES COUNT COUNTER WARM_UP
 *   driver upload ENDPOINTS PID MESSAGES BYTES CHUNK WARM_UP
 *   driver echo   ENDPOINTS PID URI COUNT SOCKETS WARM_UP SIZE
 *   driver echo-paced ENDPOINTS PID URI COUNT RATE WARM_UP SIZE SOCKETS
 *
 * ENDPOINTS is the prefix of the daemon's four ZeroMQ endpoints, PID the daemon's process. MESSAGES
 * is a file of messages, each behind its length (4 bytes, little endian); they are sent in turn.
 * Streamed ones have eight digits, "########", where each request's number goes. COUNTER is a file
 * of 8 bytes in which the origin counts what has arrived. The result is one line of JSON; it counts
 * neither the warm-up nor the setting up. "paced" and "echo-paced" send RATE a second, whatever comes
 * back.
 *
 * Messages are built beforehand and answers only searched, so that this program takes as little of
 * the machine as it can.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#define PATIENCE_MS 60000

struct message {
    char *data;
    size_t size;
    size_t number_at; /* of the eight digits */
};

static const char *prefix;
static pid_t daemon_pid;
static struct message *messages;
static size_t message_count;
static void *context, *push, *router, *sub;
static int64_t started_cpu, started_wall;
static int64_t *latencies, latency_count;

static void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

/* -- clocks --------------------------------------------------------------------------------- */

static int64_t nanoseconds(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time) != 0)
        fail("the daemon is gone");
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int64_t now(void)
{
    return nanoseconds(CLOCK_MONOTONIC);
}

/* CPU time of all threads of the daemon, those included that have ended. */
static int64_t daemon_cpu(void)
{
    clockid_t clock;
    if (clock_getcpuclockid(daemon_pid, &clock) != 0)
        fail("the daemon is gone");
    return nanoseconds(clock);
}

static void start_clocks(void)
{
    started_cpu = daemon_cpu();
    started_wall = now();
    latency_count = 0;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void print_result(int64_t count)
{
    int64_t cpu = daemon_cpu() - started_cpu, wall = now() - started_wall;
    printf("{\"count\": %lld, \"cpu_ns\": %lld, \"wall_ns\": %lld", (long long)count,
           (long long)cpu, (long long)wall);
    if (latency_count > 0) {
        qsort(latencies, (size_t)latency_count, sizeof *latencies, compare);
        printf(", \"p50_ns\": %lld, \"p99_ns\": %lld",
               (long long)latencies[latency_count / 2],
               (long long)latencies[latency_count * 99 / 100]);
    }
    printf("}\n");
}

/* -- messages and sockets ------------------------------------------------------------------- */

static void read_messages(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint32_t size;
    if (!file)
        fail("cannot read %s", path);
    while (fread(&size, sizeof size, 1, file) == 1) {
        struct message message = {malloc(size ? size : 1), size, 0};
        char *digits;
        if (fread(message.data, 1, size, file) != size)
            fail("%s is cut short", path);
        digits = memmem(message.data, size, "########", 8);
        message.number_at = digits ? (size_t)(digits - message.data) : 0;
        messages = realloc(messages, (message_count + 1) * sizeof *messages);
        messages[message_count++] = message;
    }
    fclose(file);
}

static void *connect_to(int kind, const char *name)
{
    void *socket = zmq_socket(context, kind);
    char endpoint[512];
    int none = 0, patience = PATIENCE_MS, one = 1;
    snprintf(endpoint, sizeof endpoint, "%s%s", prefix, name);
    zmq_setsockopt(socket, ZMQ_SNDHWM, &none, sizeof none);
    zmq_setsockopt(socket, ZMQ_RCVHWM, &none, sizeof none);
    zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &patience, sizeof patience);
    if (kind == ZMQ_SUB)
        zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "w ", 2);
    if (kind == ZMQ_ROUTER)
        zmq_setsockopt(socket, ZMQ_ROUTER_MANDATORY, &one, sizeof one);
    if (zmq_connect(socket, endpoint) != 0)
        fail("cannot connect to %s", endpoint);
    return socket;
}

static void receive(void *socket, zmq_msg_t *answer)
{
    if (zmq_msg_recv(answer, socket, 0) < 0)
        fail("no answer: %s", zmq_strerror(errno));
}

static int has(zmq_msg_t *answer, const char *text)
{
    /* What is searched for never stands behind a body that is larger than this. */
    return memmem(zmq_msg_data(answer), zmq_msg_size(answer), text, strlen(text)) != NULL;
}

static void check(zmq_msg_t *answer)
{
    if (has(answer, "condition"))
        fail("error: %.*s", (int)zmq_msg_size(answer), (char *)zmq_msg_data(answer));
}

static void set_timeout(void *socket, int milliseconds)
{
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &milliseconds, sizeof milliseconds);
}

/* Connect the three sockets; a bad request is answered at once, which shows that all stand. */
static void open_stream(void)
{
    static const char probe[] = "T64:4:from,1:w,2:id,5:probe,3:seq,1:0#6:method,3:GET,3:uri,3:x:/,}";
    char text[256];
    zmq_msg_t answer;
    zmq_msg_init(&answer);
    push = connect_to(ZMQ_PUSH, "in");
    router = connect_to(ZMQ_ROUTER, "in-stream");
    sub = connect_to(ZMQ_SUB, "out");
    snprintf(text, sizeof text, "T%d:%s", (int)strlen(strchr(probe, ':') + 1) - 1,
             strchr(probe, ':') + 1);
    set_timeout(sub, 100);
    for (int i = 0;; i++) {
        zmq_send(push, text, strlen(text), 0);
        if (zmq_msg_recv(&answer, sub, 0) >= 0)
            break;
        if (i == 100)
            fail("no answer on out_spec");
    }
    while (zmq_msg_recv(&answer, sub, 0) >= 0)
        ;
    set_timeout(sub, PATIENCE_MS);
    zmq_msg_close(&answer);
}

static void send_later(const char *data, size_t size)
{
    int64_t until = now() + 5000000000LL;
    while (zmq_send(router, "bench", 5, ZMQ_SNDMORE) < 0)
        if (errno != EHOSTUNREACH || now() > until)
            fail("cannot send to the daemon's in_stream_spec");
    zmq_send(router, "", 0, ZMQ_SNDMORE);
    zmq_send(router, data, size, 0);
}

/* The number behind e.g. "3:seq,2:" in a TNetString; -1 if it is not there. */
static long number_after(zmq_msg_t *answer, const char *key)
{
    const char *data = zmq_msg_data(answer), *end = data + zmq_msg_size(answer);
    const char *at = memmem(data, zmq_msg_size(answer), key, strlen(key));
    if (!at)
        return -1;
    at += strlen(key);
    while (at < end && *at != ':')
        at++;
    return strtol(at + 1, NULL, 10);
}

/* -- in_req_spec ---------------------------------------------------------------------------- */

static void ask(void *socket, long number)
{
    struct message *message = &messages[(size_t)number % message_count];
    zmq_send(socket, "", 0, ZMQ_SNDMORE);
    zmq_send(socket, message->data, message->size, 0);
}

static void exchange(void *socket, long count, long in_flight)
{
    zmq_msg_t answer;
    long sent = 0;
    int64_t asked = now();
    zmq_msg_init(&answer);
    while (sent < in_flight && sent < count)
        ask(socket, sent++);
    for (long done = 0; done < count; done++) {
        receive(socket, &answer); /* the empty frame */
        receive(socket, &answer);
        if (in_flight == 1)
            latencies[latency_count++] = now() - asked;
        check(&answer);
        if (sent < count) {
            asked = in_flight == 1 ? now() : 0;
            ask(socket, sent++);
        }
    }
    zmq_msg_close(&answer);
}

static void run_req(long count, long in_flight, long warm_up)
{
    void *socket = connect_to(ZMQ_DEALER, "req");
    latencies = calloc((size_t)(count + warm_up), sizeof *latencies);
    exchange(socket, warm_up, in_flight);
    start_clocks();
    exchange(socket, count, in_flight);
    print_result(count);
}

/* Take an answer of the request interface. */
static int take_reply(void *socket, zmq_msg_t *answer)
{
    receive(socket, answer); /* the empty frame */
    receive(socket, answer);
    check(answer);
    return 1;
}

/* Take a packet of a WebSocket; returns whether it is an echo, and not credits or the like. */
static int take_echo(void *socket, zmq_msg_t *answer)
{
    receive(socket, answer);
    check(answer);
    return !has(answer, "4:type,");
}

/* Wait until a moment, taking what comes meanwhile; returns how many answers that were. */
static long take_until(void *socket, int64_t until, int (*take)(void *, zmq_msg_t *),
                       zmq_msg_t *answer)
{
    long taken = 0;
    for (;;) {
        zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
        int64_t left = until - now();
        if (left <= 0)
            return taken;
        if (left < 1000000) { /* poll counts in milliseconds */
            struct timespec rest = {.tv_nsec = left};
            nanosleep(&rest, NULL);
            left = 0;
        }
        if (zmq_poll(&item, 1, (long)(left / 1000000)) <= 0)
            continue;
        taken += take(socket, answer);
    }
}

static void pace(void *socket, long count, long rate)
{
    zmq_msg_t answer;
    int64_t start = now();
    long taken = 0;
    zmq_msg_init(&answer);
    for (long sent = 0; sent < count; sent++) {
        taken += take_until(socket, start + sent * 1000000000LL / rate, take_reply, &answer);
        ask(socket, sent);
    }
    while (taken < count)
        taken += take_reply(socket, &answer);
    zmq_msg_close(&answer);
}

static void run_paced(long count, long rate, long warm_up)
{
    void *socket = connect_to(ZMQ_DEALER, "req");
    pace(socket, warm_up, rate);
    start_clocks();
    pace(socket, count, rate);
    print_result(count);
}

/* -- in_spec and out_spec ------------------------------------------------------------------- */

static void begin(long number)
{
    struct message *message = &messages[(size_t)number % message_count];
    char digits[16];
    snprintf(digits, sizeof digits, "%08ld", number);
    memcpy(message->data + message->number_at, digits, 8);
    zmq_send(push, message->data, message->size, 0);
}

/* Give back the credits that a part of a download used. */
static void grant(zmq_msg_t *answer)
{
    const char *data = zmq_msg_data(answer);
    const char *body = memmem(data, zmq_msg_size(answer), "4:body,", 7);
    const char *id = memmem(data, zmq_msg_size(answer), "2:id,8:", 7);
    static int seqs[1 << 20]; /* seq of the later packets of a session, by its number */
    char text[160], inner[128], seq[24], credits[24];
    long number, size;
    if (!body || !id)
        return;
    size = strtol(body + 7, NULL, 10);
    number = strtol(id + 7, NULL, 10);
    if (size == 0)
        return;
    snprintf(seq, sizeof seq, "%d", ++seqs[number % (1 << 20)]);
    snprintf(credits, sizeof credits, "%ld", size);
    snprintf(inner, sizeof inner, "4:from,1:w,2:id,8:%08ld,3:seq,%zu:%s#4:type,6:credit,7:credits,%zu:%s#",
             number, strlen(seq), seq, strlen(credits), credits);
    snprintf(text, sizeof text, "T%zu:%s}", strlen(inner), inner);
    send_later(text, strlen(text));
}

static void stream(long first, long count, long in_flight)
{
    zmq_msg_t answer;
    long sent = 0;
    zmq_msg_init(&answer);
    while (sent < in_flight && sent < count)
        begin(first + sent++);
    for (long done = 0; done < count;) {
        receive(sub, &answer);
        check(&answer);
        if (has(&answer, "4:type,"))
            continue;
        if (has(&answer, "4:more,4:true!")) {
            grant(&answer);
            continue;
        }
        done++;
        if (sent < count)
            begin(first + sent++);
    }
    zmq_msg_close(&answer);
}

static void run_stream(long count, long in_flight, long warm_up)
{
    open_stream();
    stream(0, warm_up, in_flight);
    start_clocks();
    stream(warm_up, count, in_flight);
    print_result(count);
}

static void run_push(long count, const char *counter, long warm_up)
{
    int file = open(counter, O_RDONLY);
    volatile const uint64_t *arrived = mmap(NULL, 8, PROT_READ, MAP_SHARED, file, 0);
    struct timespec pause = {0, 1000000};
    if (arrived == MAP_FAILED)
        fail("cannot map %s", counter);
    push = connect_to(ZMQ_PUSH, "in");
    for (int round = 0; round < 2; round++) {
        uint64_t due = *arrived + (uint64_t)(round ? count : warm_up);
        int64_t until = now() + PATIENCE_MS * 1000000LL;
        if (round)
            start_clocks();
        for (long i = 0; i < (round ? count : warm_up); i++)
            zmq_send(push, messages[0].data, messages[0].size, 0);
        while (*arrived < due) {
            if (now() > until)
                fail("%llu requests were lost", (unsigned long long)(due - *arrived));
            nanosleep(&pause, NULL);
        }
    }
    print_result(count);
}

/* -- in_stream_spec: bodies and WebSockets --------------------------------------------------- */

/* "T<size>:from, id, seq" and the given fields; the size of it all. */
static size_t build(char *out, size_t room, long id, long seq, const char *more, const char *body,
                    size_t size)
{
    char seq_text[24], fields[256], length[24];
    int fixed, head;
    snprintf(seq_text, sizeof seq_text, "%ld", seq);
    fixed = snprintf(fields, sizeof fields, "4:from,1:w,2:id,8:%08ld,3:seq,%zu:%s#%s", id,
                     strlen(seq_text), seq_text, more);
    if (body)
        fixed += snprintf(fields + fixed, sizeof fields - (size_t)fixed, "4:body,%zu:", size);
    snprintf(length, sizeof length, "%zu", (size_t)fixed + (body ? size + 1 : 0));
    head = snprintf(out, room, "T%s:%s", length, fields);
    if (body) {
        memcpy(out + head, body, size);
        head += (int)size;
        out[head++] = ',';
    }
    out[head++] = '}';
    return (size_t)head;
}

static void upload(long id, long bytes, long chunk)
{
    char *body = malloc((size_t)chunk), *text = malloc((size_t)chunk + 512);
    long credits = 0, seq = 0;
    zmq_msg_t answer;
    zmq_msg_init(&answer);
    memset(body, 'x', (size_t)chunk);
    begin(id);
    for (;;) {
        receive(sub, &answer);
        check(&answer);
        if (!has(&answer, "4:type,") && !has(&answer, "4:more,4:true!"))
            break;
        if (has(&answer, "6:credit"))
            credits += number_after(&answer, "7:credits,");
        while (bytes > 0 && (credits >= chunk || credits >= bytes)) {
            long size = bytes < chunk ? bytes : chunk;
            bytes -= size;
            credits -= size;
            send_later(text, build(text, (size_t)chunk + 512, id, ++seq,
                                   bytes ? "4:more,4:true!" : "", body, (size_t)size));
        }
    }
    zmq_msg_close(&answer);
    free(body);
    free(text);
}

static void run_upload(long bytes, long chunk, long warm_up)
{
    open_stream();
    upload(0, warm_up, chunk);
    start_clocks();
    upload(1, bytes, chunk);
    print_result(bytes);
}

static void open_websockets(const char *uri, long sockets)
{
    zmq_msg_t answer;
    char fields[1024], text[1200];
    zmq_msg_init(&answer);
    for (long i = 0; i < sockets; i++) {
        snprintf(fields, sizeof fields,
                 "4:from,1:w,2:id,8:%08ld,3:seq,1:0#3:uri,%zu:%s,7:credits,6:200000#", i,
                 strlen(uri), uri);
        snprintf(text, sizeof text, "T%zu:%s}", strlen(fields), fields);
        zmq_send(push, text, strlen(text), 0);
    }
    for (long open = 0; open < sockets;) {
        receive(sub, &answer);
        if (has(&answer, "4:code,3:101#"))
            open++;
        else if (!has(&answer, "10:keep-alive,")) /* condure begins with one */
            fail("not opened: %.*s", (int)zmq_msg_size(&answer), (char *)zmq_msg_data(&answer));
    }
    zmq_msg_close(&answer);
}

/* A message of so many bytes, and the credits for its echo. */
struct echo {
    char *body, *text, credits[64];
    size_t size;
};

static struct echo make_echo(long size)
{
    struct echo made = {.size = (size_t)size};
    char digits[24];
    made.body = malloc(made.size);
    made.text = malloc(made.size + 512);
    memset(made.body, 'x', made.size);
    snprintf(digits, sizeof digits, "%ld", size);
    snprintf(made.credits, sizeof made.credits, "7:credits,%zu:%s#", strlen(digits), digits);
    return made;
}

static void send_echo(struct echo *made, long id, long seq)
{
    send_later(made->text, build(made->text, made->size + 512, id, seq, made->credits, made->body,
                                 made->size));
}

static void free_echo(struct echo *made)
{
    free(made->body);
    free(made->text);
}

/* Each socket sends a message, waits for its echo and sends the next, with the credits that the
 * echo used up: so one echo is two packets in and out (data and credit) and a frame each way. */
static void echo(long *seqs, long sockets, long count, long size)
{
    struct echo made = make_echo(size);
    zmq_msg_t answer;
    long sent = 0;
    zmq_msg_init(&answer);
    for (; sent < sockets && sent < count; sent++)
        send_echo(&made, sent, ++seqs[sent]);
    for (long done = 0; done < count;) {
        if (!take_echo(sub, &answer))
            continue;
        done++;
        if (sent < count) {
            long id = number_after(&answer, "2:id,");
            sent++;
            send_echo(&made, id, ++seqs[id]);
        }
    }
    zmq_msg_close(&answer);
    free_echo(&made);
}

static void run_echo(const char *uri, long count, long sockets, long warm_up, long size)
{
    long *seqs = calloc((size_t)sockets, sizeof *seqs);
    open_stream();
    open_websockets(uri, sockets);
    echo(seqs, sockets, warm_up, size);
    start_clocks();
    echo(seqs, sockets, count, size);
    print_result(count);
}

/* So many messages a second, by the sockets in turn, each with the credits for its echo. */
static void pace_echo(long *seqs, long sockets, long count, long rate, long size)
{
    struct echo made = make_echo(size);
    int64_t start = now();
    long taken = 0;
    zmq_msg_t answer;
    zmq_msg_init(&answer);
    for (long sent = 0; sent < count; sent++) {
        long id = sent % sockets;
        taken += take_until(sub, start + sent * 1000000000LL / rate, take_echo, &answer);
        send_echo(&made, id, ++seqs[id]);
    }
    while (taken < count)
        taken += take_echo(sub, &answer);
    zmq_msg_close(&answer);
    free_echo(&made);
}

static void run_echo_paced(const char *uri, long count, long rate, long warm_up, long size,
                           long sockets)
{
    long *seqs = calloc((size_t)sockets, sizeof *seqs);
    open_stream();
    open_websockets(uri, sockets);
    pace_echo(seqs, sockets, warm_up, rate, size);
    start_clocks();
    pace_echo(seqs, sockets, count, rate, size);
    print_result(count);
}

/* ------------------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
    const char *mode = argc > 7 ? argv[1] : "";
    long count, number, warm_up;
    if (argc < 8)
        fail("usage: see the head of driver.c");
    prefix = argv[2];
    daemon_pid = (pid_t)strtol(argv[3], NULL, 10);
    count = strtol(argv[5], NULL, 10);
    number = strtol(argv[6], NULL, 10);
    warm_up = strtol(argv[7], NULL, 10);
    context = zmq_ctx_new();
    if (strcmp(mode, "echo") == 0) {
        run_echo(argv[4], count, number, warm_up, strtol(argc > 8 ? argv[8] : "20", NULL, 10));
        return 0;
    }
    if (strcmp(mode, "echo-paced") == 0) {
        if (argc < 10)
            fail("usage: see the head of driver.c");
        run_echo_paced(argv[4], count, number, warm_up, strtol(argv[8], NULL, 10),
                       strtol(argv[9], NULL, 10));
        return 0;
    }
    read_messages(argv[4]);
    if (strcmp(mode, "paced") == 0)
        run_paced(count, number, warm_up);
    else if (strcmp(mode, "req") == 0)
        run_req(count, number, warm_up);
    else if (strcmp(mode, "stream") == 0)
        run_stream(count, number, warm_up);
    else if (strcmp(mode, "push") == 0)
        run_push(count, argv[6], warm_up);
    else if (strcmp(mode, "upload") == 0)
        run_upload(count, number, warm_up);
    else
        fail("no mode %s", mode);
    return 0;
}

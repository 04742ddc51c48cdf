/* The origin for what nginx cannot do, in one thread with one epoll.
 *
 *   origin PORT COUNTER
 *
 * GET /hold is never answered, GET /slow after 10 ms. An upgrade to WebSocket is accepted and every frame sent back. All
 * else is answered with a short text once its body, by Content-Length or in chunks, has come and
 * was dropped. COUNTER is a file of 8 bytes in which the answers are counted.
 *
 * It trusts its client, as only the measured daemons ever are that.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_SIZE 262144
#define SLOW_NS 10000000LL
#define MOST_SLOW 4096 /* answers that wait at once */

enum state { HEAD, LENGTH, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILER, FRAMES };

struct peer {
    int fd;
    enum state state;
    uint64_t left; /* of the body or of the chunk */
    unsigned char *data;
    size_t size, room;
};

static volatile uint64_t *answered;
static const char ANSWER[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nhello world\n";

/* -- SHA-1 (FIPS 180-4) and base64, for Sec-WebSocket-Accept --------------------------------- */

static uint32_t rotate(uint32_t word, int bits)
{
    return word << bits | word >> (32 - bits);
}

static void sha1_block(uint32_t h[5], const unsigned char *block)
{
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int t = 0; t < 16; t++)
        w[t] = (uint32_t)block[4 * t] << 24 | (uint32_t)block[4 * t + 1] << 16
            | (uint32_t)block[4 * t + 2] << 8 | block[4 * t + 3];
    for (int t = 16; t < 80; t++)
        w[t] = rotate(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
    for (int t = 0; t < 80; t++) {
        uint32_t f = t < 20 ? (b & c) | (~b & d)
            : t < 40        ? b ^ c ^ d
            : t < 60        ? (b & c) | (b & d) | (c & d)
                            : b ^ c ^ d;
        uint32_t k = t < 20 ? 0x5a827999 : t < 40 ? 0x6ed9eba1 : t < 60 ? 0x8f1bbcdc : 0xca62c1d6;
        uint32_t next = rotate(a, 5) + f + e + k + w[t];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

static void sha1(const unsigned char *data, size_t size, unsigned char out[20])
{
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    unsigned char padded[256] = {0};
    size_t total = (size + 9 + 63) / 64 * 64;
    memcpy(padded, data, size);
    padded[size] = 0x80;
    for (int i = 0; i < 8; i++)
        padded[total - 1 - (size_t)i] = (unsigned char)((uint64_t)size * 8 >> (8 * i));
    for (size_t at = 0; at < total; at += 64)
        sha1_block(h, padded + at);
    for (int i = 0; i < 20; i++)
        out[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64_of_20(const unsigned char *in, char out[29])
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char padded[21] = {0};
    memcpy(padded, in, 20);
    for (int i = 0; i < 7; i++) {
        uint32_t three = (uint32_t)padded[3 * i] << 16 | (uint32_t)padded[3 * i + 1] << 8
            | padded[3 * i + 2];
        for (int j = 0; j < 4; j++)
            out[4 * i + j] = digits[three >> (18 - 6 * j) & 63];
    }
    out[27] = '=';
    out[28] = '\0';
}

/* ------------------------------------------------------------------------------------------- */

static void write_all(int fd, const void *data, size_t size)
{
    const char *at = data;
    while (size > 0) {
        ssize_t written = send(fd, at, size, MSG_NOSIGNAL);
        if (written <= 0)
            return; /* the peer is gone; reading will show it */
        at += written;
        size -= (size_t)written;
    }
}

static void answer(struct peer *peer)
{
    write_all(peer->fd, ANSWER, sizeof ANSWER - 1);
    (*answered)++;
    peer->state = HEAD;
}

/* Answers that wait, in order of time: all wait equally long. */
static struct {
    int64_t due;
    struct peer *peer;
} slow[MOST_SLOW];
static size_t slow_first, slow_count;

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void answer_later(struct peer *peer)
{
    size_t at = (slow_first + slow_count) % MOST_SLOW;
    if (slow_count == MOST_SLOW) {
        fprintf(stderr, "origin: more than %d slow answers\n", MOST_SLOW);
        exit(1);
    }
    slow[at].due = now() + SLOW_NS;
    slow[at].peer = peer;
    slow_count++;
}

/* Gives the answers that are due; returns the milliseconds until the next, -1 for none. */
static int answer_slow(void)
{
    while (slow_count > 0) {
        int64_t wait = slow[slow_first].due - now();
        if (wait > 0)
            return (int)(wait / 1000000 + 1);
        if (slow[slow_first].peer)
            answer(slow[slow_first].peer);
        slow_first = (slow_first + 1) % MOST_SLOW;
        slow_count--;
    }
    return -1;
}

static void forget_slow(struct peer *peer)
{
    for (size_t i = 0; i < slow_count; i++)
        if (slow[(slow_first + i) % MOST_SLOW].peer == peer)
            slow[(slow_first + i) % MOST_SLOW].peer = NULL;
}

static void accept_websocket(struct peer *peer, const char *key)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char text[128], digest[20];
    char accepted[29], head[256];
    size_t size;
    while (*key == ' ')
        key++;
    size = strcspn(key, "\r ");
    memcpy(text, key, size);
    memcpy(text + size, guid, sizeof guid - 1);
    sha1(text, size + sizeof guid - 1, digest);
    base64_of_20(digest, accepted);
    write_all(peer->fd, head,
              (size_t)snprintf(head, sizeof head,
                               "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                               "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                               accepted));
    peer->state = FRAMES;
}

/* Each of these takes what it can from the front and returns how much; 0: more has to come. */

static size_t take_head(struct peer *peer, char *data, size_t size)
{
    char *end = memmem(data, size, "\r\n\r\n", 4), *field;
    if (!end)
        return 0;
    *end = '\0';
    if ((field = strcasestr(data, "\r\nsec-websocket-key:"))) {
        accept_websocket(peer, field + 20);
    } else if ((field = strcasestr(data, "\r\ncontent-length:"))) {
        peer->left = strtoull(field + 17, NULL, 10);
        peer->state = LENGTH;
        if (peer->left == 0)
            answer(peer);
    } else if (strcasestr(data, "\r\ntransfer-encoding: chunked")) {
        peer->state = CHUNK_SIZE;
    } else if (strstr(data, " /slow ")) {
        answer_later(peer);
    } else if (!strstr(data, " /hold ")) {
        answer(peer);
    }
    return (size_t)(end + 4 - data);
}

static size_t take_body(struct peer *peer, size_t size)
{
    size_t taken = size < peer->left ? size : peer->left;
    peer->left -= taken;
    if (peer->left == 0) {
        if (peer->state == LENGTH)
            answer(peer);
        else
            peer->state = CHUNK_END;
    }
    return taken;
}

static size_t take_line(struct peer *peer, char *data, size_t size)
{
    char *end = memchr(data, '\n', size);
    if (!end)
        return 0;
    if (peer->state == CHUNK_SIZE) {
        peer->left = strtoull(data, NULL, 16);
        peer->state = peer->left ? CHUNK : TRAILER;
    } else if (peer->state == CHUNK_END) {
        peer->state = CHUNK_SIZE;
    } else if (end - data <= 1) {
        answer(peer);
    }
    return (size_t)(end + 1 - data);
}

static size_t take_frame(struct peer *peer, unsigned char *data, size_t size)
{
    static unsigned char out[READ_SIZE * 2];
    size_t start = 2, length, head;
    unsigned char *mask, *payload;
    if (size < 6)
        return 0;
    length = data[1] & 0x7f;
    if (length == 126) {
        length = (size_t)data[2] << 8 | data[3];
        start = 4;
    }
    if (size < start + 4 + length)
        return 0;
    mask = data + start;
    payload = mask + 4;
    head = start;
    out[0] = data[0];
    out[1] = data[1] & 0x7f;
    memcpy(out + 2, data + 2, head - 2);
    for (size_t i = 0; i < length; i++)
        out[head + i] = payload[i] ^ mask[i & 3];
    write_all(peer->fd, out, head + length);
    return start + 4 + length;
}

static size_t take(struct peer *peer, unsigned char *data, size_t size)
{
    switch (peer->state) {
    case HEAD:
        return take_head(peer, (char *)data, size);
    case LENGTH:
    case CHUNK:
        return take_body(peer, size);
    case FRAMES:
        return take_frame(peer, data, size);
    default:
        return take_line(peer, (char *)data, size);
    }
}

/* Returns 0 if the peer is gone. */
static int serve(struct peer *peer)
{
    static unsigned char buffer[READ_SIZE + 65536];
    size_t size = peer->size, at = 0, taken;
    ssize_t got;
    /* What was left of the last read comes first. */
    memcpy(buffer, peer->data, size);
    got = recv(peer->fd, buffer + size, READ_SIZE, 0);
    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    size += (size_t)got;
    while (at < size && (taken = take(peer, buffer + at, size - at)) > 0)
        at += taken;
    peer->size = size - at;
    if (peer->size > peer->room) {
        peer->room = peer->size < 1024 ? 1024 : peer->size;
        peer->data = realloc(peer->data, peer->room);
    }
    memcpy(peer->data, buffer + at, peer->size);
    return 1;
}

static int listen_on(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 4096) != 0) {
        perror("origin");
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    struct epoll_event events[256], event = {.events = EPOLLIN};
    struct rlimit limit;
    int listener, epoll, counter, one = 1;
    if (argc != 3) {
        fprintf(stderr, "usage: origin PORT COUNTER\n");
        return 1;
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    counter = open(argv[2], O_RDWR | O_CREAT, 0644);
    if (counter < 0 || ftruncate(counter, 8) != 0)
        return 1;
    answered = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, counter, 0);
    listener = listen_on(atoi(argv[1]));
    epoll = epoll_create1(0);
    event.data.ptr = NULL;
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(epoll, events, 256, answer_slow());
        for (int i = 0; i < ready; i++) {
            struct peer *peer = events[i].data.ptr;
            if (!peer) {
                int fd = accept(listener, NULL, NULL);
                if (fd < 0)
                    continue;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                peer = calloc(1, sizeof *peer);
                peer->fd = fd;
                event.data.ptr = peer;
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
            } else if (!serve(peer)) {
                forget_slow(peer);
                close(peer->fd);
                free(peer->data);
                free(peer);
            }
        }
    }
}

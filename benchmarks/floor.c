/* The floor: the least that any gateway of this kind must do, in C, with nothing around it.
 *
 * A ROUTER takes messages (after the empty frame) that are an URL, for a POST with NUL and the body
 * behind it; libcurl's multi interface fetches them over kept connections, the answer is the body.
 * No policy, no sessions, no timers, no log, no formats, no checks of certificates.
 *
 *   floor ENDPOINT
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <zmq.h>

#define MAX_FRAME 65536

struct request {
    CURL *easy;
    char identity[256];
    size_t identity_size;
    char body[MAX_FRAME]; /* of the answer */
    size_t body_size;
    char message[MAX_FRAME * 4];
    struct request *next;
};

static int epoll_fd;
static long timeout_ms = -1;
static struct request *idle_requests;

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *assigned)
{
    struct epoll_event event = {0};
    (void)easy; (void)data; (void)assigned;
    event.data.fd = fd;
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        return 0;
    }
    event.events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event) != 0)
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
    return 0;
}

static int on_timer(CURLM *multi, long milliseconds, void *data)
{
    (void)multi; (void)data;
    timeout_ms = milliseconds;
    return 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
    struct request *request = user;
    size_t bytes = size * count;
    if (request->body_size + bytes <= MAX_FRAME) {
        memcpy(request->body + request->body_size, data, bytes);
        request->body_size += bytes;
    }
    return bytes;
}

static struct request *take_request(void)
{
    struct request *request = idle_requests;
    if (request) {
        idle_requests = request->next;
    } else {
        request = calloc(1, sizeof *request);
        request->easy = curl_easy_init();
        curl_easy_setopt(request->easy, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(request->easy, CURLOPT_WRITEDATA, request);
        curl_easy_setopt(request->easy, CURLOPT_PRIVATE, request);
        curl_easy_setopt(request->easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(request->easy, CURLOPT_SSL_VERIFYPEER, 0L);
    }
    request->body_size = 0;
    return request;
}

static int receive_one(void *router, CURLM *multi)
{
    char empty[8];
    size_t url_size;
    struct request *request = take_request();
    int size = zmq_recv(router, request->identity, sizeof request->identity, ZMQ_DONTWAIT);
    if (size < 0) {
        request->next = idle_requests;
        idle_requests = request;
        return 0;
    }
    request->identity_size = (size_t)size;
    zmq_recv(router, empty, sizeof empty, 0);
    size = zmq_recv(router, request->message, sizeof request->message - 1, 0);
    if (size < 0 || (size_t)size >= sizeof request->message)
        size = 0;
    request->message[size] = '\0';
    curl_easy_setopt(request->easy, CURLOPT_URL, request->message);
    url_size = strlen(request->message);
    if (url_size < (size_t)size) {
        curl_easy_setopt(request->easy, CURLOPT_POSTFIELDSIZE, (long)(size - (int)url_size - 1));
        curl_easy_setopt(request->easy, CURLOPT_POSTFIELDS, request->message + url_size + 1);
    }
    curl_multi_add_handle(multi, request->easy);
    return 1;
}

static void finish_done(void *router, CURLM *multi)
{
    CURLMsg *message;
    int queued;
    while ((message = curl_multi_info_read(multi, &queued))) {
        struct request *request;
        CURL *easy = message->easy_handle;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &request);
        curl_multi_remove_handle(multi, easy);
        zmq_send(router, request->identity, request->identity_size, ZMQ_SNDMORE);
        zmq_send(router, "", 0, ZMQ_SNDMORE);
        zmq_send(router, request->body, request->body_size, 0);
        request->next = idle_requests;
        idle_requests = request;
    }
}

int main(int argc, char **argv)
{
    struct epoll_event events[256], zmq_event = {.events = EPOLLIN};
    size_t fd_size = sizeof(int);
    int zmq_fd, running, zmq_state;
    size_t state_size = sizeof zmq_state;
    void *context = zmq_ctx_new(), *router = zmq_socket(context, ZMQ_ROUTER);
    CURLM *multi;

    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        int major, minor, patch;
        zmq_version(&major, &minor, &patch);
        printf("%s, libzmq/%d.%d.%d\n", curl_version(), major, minor, patch);
        return 0;
    }
    if (argc != 2 || zmq_bind(router, argv[1]) != 0) {
        fprintf(stderr, "usage: floor ENDPOINT\n");
        return 1;
    }
    curl_global_init(CURL_GLOBAL_ALL);
    multi = curl_multi_init();
    epoll_fd = epoll_create1(0);
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, 10000L);
    zmq_getsockopt(router, ZMQ_FD, &zmq_fd, &fd_size);
    zmq_event.data.fd = zmq_fd;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, zmq_fd, &zmq_event);
    for (;;) {
        int ready = epoll_wait(epoll_fd, events, 256, timeout_ms < 0 ? 1000 : (int)timeout_ms);
        if (ready == 0 && timeout_ms >= 0)
            curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
        for (int i = 0; i < ready; i++) {
            int mask = (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR) ? CURL_CSELECT_IN : 0)
                | (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0);
            if (events[i].data.fd != zmq_fd)
                curl_multi_socket_action(multi, events[i].data.fd, mask, &running);
        }
        finish_done(router, multi);
        for (;;) {
            zmq_getsockopt(router, ZMQ_EVENTS, &zmq_state, &state_size);
            if (!(zmq_state & ZMQ_POLLIN))
                break;
            for (int i = 0; i < 64 && receive_one(router, multi); i++)
                ;
        }
        if (timeout_ms == 0)
            curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
}

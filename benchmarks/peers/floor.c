/* The floor: what the kernel asks for one finger query, and next to nothing on top.
 *
 * An epoll loop in one thread that answers every line with the same bytes. It knows no names, no limits, no deadlines
 * and no log; nothing written in any language on the same system calls can be much cheaper, which is all it is for.
 *
 *     floor ANSWER [DEFER_SECONDS]
 *
 * One connection costs accept4, recv, send and close when its line has come by the time it is accepted, and one
 * epoll_ctl with one more wake-up when it has not. DEFER_SECONDS asks for TCP_DEFER_ACCEPT, so that it nearly always has.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define QUERY_LIMIT 512 /* a finger query is one short line; what is longer arrives in pieces and is read in pieces */
#define BACKLOG 4096    /* as for every peer: a queue that overflows would measure TCP's time-outs, not the server */
#define EVENTS 64

static const char *answer;
static size_t answer_size;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* Answer if a line end has come, hang up if the peer has; returns whether the connection is done with. */
static int serve(int fd)
{
    char query[QUERY_LIMIT];

    for (;;) {
        ssize_t got = recv(fd, query, sizeof query, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return 0;
        if (got > 0 && memchr(query, '\n', (size_t)got) == NULL)
            continue;
        /* A short answer fits the send buffer of a new connection: a partial send cannot happen here. */
        if (got > 0 && send(fd, answer, answer_size, MSG_NOSIGNAL) != (ssize_t)answer_size)
            perror("send");
        close(fd);
        return 1;
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t address_size = sizeof address;
    struct epoll_event events[EVENTS];
    struct epoll_event interest = {.events = EPOLLIN};

    if (argc < 2) {
        fprintf(stderr, "usage: floor ANSWER [DEFER_SECONDS]\n");
        return 2;
    }
    answer = argv[1];
    answer_size = strlen(answer);
    int defer = argc > 2 ? atoi(argv[2]) : 0;

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0)
        die("socket");
    if (defer > 0 && setsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &defer, sizeof defer) < 0)
        die("TCP_DEFER_ACCEPT");
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0)
        die("bind");
    if (listen(listener, BACKLOG) < 0)
        die("listen");
    if (getsockname(listener, (struct sockaddr *)&address, &address_size) < 0)
        die("getsockname");

    int poll = epoll_create1(EPOLL_CLOEXEC);
    if (poll < 0)
        die("epoll_create1");
    interest.data.fd = listener;
    if (epoll_ctl(poll, EPOLL_CTL_ADD, listener, &interest) < 0)
        die("epoll_ctl");
    fprintf(stderr, "{\"event\": \"listening\", \"door\": \"finger\", \"address\": \"127.0.0.1:%d\"}\n",
            ntohs(address.sin_port));
    fprintf(stderr, "{\"event\": \"ready\"}\n");

    for (;;) {
        int ready = epoll_wait(poll, events, EVENTS, -1);
        if (ready < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd != listener) {
                serve(events[i].data.fd);
                continue;
            }
            int fd;
            while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                if (serve(fd))
                    continue;
                interest.data.fd = fd;
                if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &interest) < 0)
                    die("epoll_ctl");
            }
        }
    }
}

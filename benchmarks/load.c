/* The load: finger clients by the thousand, from one thread, every answer compared byte by byte.
 *
 *     load query PORT IN_FLIGHT SECONDS SOURCES QUERY EXPECTED
 *         Keeps IN_FLIGHT connections going for SECONDS: each connects, sends QUERY, reads to the end, compares with
 *         EXPECTED, closes, and is followed by the next. Then waits for those under way. A closed loop: the latency it
 *         sees is from before socket() to the end of input. A run of # in QUERY stands for a number that grows with each
 *         query, with leading zeros, and starts over when its digits are used up.
 *
 *     load hold PORT COUNT PER_SECOND SOURCES PREFIX
 *         Opens COUNT connections at that pace, sends PREFIX (may be empty) on each and nothing more; says so in one
 *         line; holds them until its standard input ends; then says how many the server has not closed.
 *
 * One JSON object a line on standard output. It talks to 127.0.0.1 and nothing else, from SOURCES addresses in turn
 * (127.16.0.1 and up; 127.32.0.1 and up for `hold`), as a server sees many clients and not one.
 *
 * Its packets are those of any Linux client: handshake, query, acknowledgements, FIN. (A reset instead of the FIN would
 * be cheaper here, but a server that waits for its peer to close, as it should, would be measured on the wrong path.)
 * What keeps it cheap all the same, for whatever it costs can hide what a server can do:
 *   - Sockets are used again: connect(AF_UNSPEC) takes one back to where it can dial anew, without close, socket, bind
 *     and epoll_ctl.
 *   - It waits for the end of input (EPOLLRDHUP) and not for the first bytes: one wake-up a query instead of two. That
 *     spares the server the waking of a sleeping client, too, which across a real network it does not pay either.
 * The TIME_WAITs that the servers leave expire on this program's core, where they began, and are charged to no server.
 *
 * benchmarks/load.py does the same, slowly, where there is no C compiler.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

#define QUERY_NET 0x7f100001u /* 127.16.0.1 */
#define HOLD_NET 0x7f200001u  /* 127.32.0.1 */
#define ANSWER_LIMIT 65536    /* must fit the receive buffer, as nothing is read before the end of input */
#define LATENCIES 4000000     /* more than one core can ask in any round; further queries count, without a latency */
#define DRAIN 5.0             /* seconds that the last queries may take after the round's end before they are lost */
#define HANDSHAKE 3.0         /* seconds that the last handshakes may take once all have begun */
#define EVENTS 256

/* One source address. Its socket is made at its first use and used again and again. */
struct client {
    int fd; /* -1: none yet */
    enum { IDLE, CONNECTING, ASKED } state;
    double began;
};

static struct sockaddr_in server = {.sin_family = AF_INET};
static const char *expected;
static char *query, *number; /* number: the run of # in it, if any */
static size_t digits;
static size_t query_size, expected_size;
static struct client *clients; /* one for each of the `sources` addresses */
static uint32_t sources, turn; /* whose turn is next */
static size_t busy;            /* queries under way */
static int poll_fd;

static float *latencies; /* microseconds */
static size_t answered, connect_errors, io_errors, wrong_answers, timeouts;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec * 1e-9;
}

/* A socket that will call from the given address. Its port is chosen by connect(), where the whole pair is known, and
 * not by bind(), which would have to find one that is free for every destination. */
static int new_socket(uint32_t from)
{
    struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(from)};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        die("socket");
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) < 0)
        die("IP_BIND_ADDRESS_NO_PORT");
    if (bind(fd, (struct sockaddr *)&source, sizeof source) < 0)
        die("bind");
    return fd;
}

/* On loopback the handshake is over when connect() returns, although it says EINPROGRESS. */
static int dial(int fd)
{
    return connect(fd, (struct sockaddr *)&server, sizeof server) == 0 || errno == EINPROGRESS ? 0 : -1;
}

/* Close as close() would, and keep the socket. */
static void finish(struct client *client)
{
    struct sockaddr nowhere = {.sa_family = AF_UNSPEC};

    shutdown(client->fd, SHUT_WR);
    if (connect(client->fd, &nowhere, sizeof nowhere) < 0) {
        close(client->fd);
        client->fd = -1;
    }
    client->state = IDLE;
    busy--;
}

/* Count in the query itself. */
static void next_number(void)
{
    for (size_t i = digits; i-- > 0;) {
        if (number[i] < '9') {
            number[i]++;
            return;
        }
        number[i] = '0';
    }
}

/* Start one query, at the next address that is free. It cannot be sent at once only where the handshake is not over (a
 * full accept queue); then EPOLLOUT comes. Edge-triggered, since an idle socket would report EPOLLHUP for ever. */
static void start(double began)
{
    struct client *client;
    do {
        client = &clients[turn];
        turn = (turn + 1) % sources;
    } while (client->state != IDLE);

    if (client->fd < 0) {
        struct epoll_event interest = {.events = EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = client};
        client->fd = new_socket(QUERY_NET + (uint32_t)(client - clients));
        if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, client->fd, &interest) < 0)
            die("epoll_ctl");
    }
    busy++;
    next_number();
    client->began = began;
    client->state = CONNECTING;
    if (dial(client->fd) < 0) {
        connect_errors++;
        finish(client);
    } else if (send(client->fd, query, query_size, MSG_NOSIGNAL) == (ssize_t)query_size) {
        client->state = ASKED;
    } else if (errno != EAGAIN) {
        io_errors++;
        finish(client);
    }
}

/* Something may have happened to a connection; returns whether its query is over (well or badly). */
static int step(struct client *client, char *answer, uint32_t events)
{
    if (client->state == CONNECTING && (events & EPOLLOUT) != 0) {
        if (send(client->fd, query, query_size, MSG_NOSIGNAL) == (ssize_t)query_size) {
            client->state = ASKED;
        } else if (errno != EAGAIN) {
            io_errors++;
            finish(client);
            return 1;
        }
    }
    if (client->state != ASKED || (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) == 0)
        return 0;

    size_t size = 0;
    for (;;) {
        ssize_t got = recv(client->fd, answer + size, ANSWER_LIMIT - size, 0);
        if (got > 0 && (size += (size_t)got) < ANSWER_LIMIT)
            continue;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN && size == 0) /* the event was about this socket's query before */
            return 0;
        if (got < 0) { /* a reset */
            io_errors++;
            break;
        }
        if (size != expected_size || memcmp(answer, expected, size) != 0) {
            if (wrong_answers++ == 0)
                fprintf(stderr, "load: expected %zu bytes, got %zu: %.*s\n", expected_size, size, (int)size, answer);
            break;
        }
        if (answered < LATENCIES)
            latencies[answered] = (float)((now() - client->began) * 1e6);
        answered++;
        break;
    }
    finish(client);
    return 1;
}

static int by_size(const void *a, const void *b)
{
    float left = *(const float *)a, right = *(const float *)b;
    return (left > right) - (left < right);
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

static double quantile(size_t count, double share)
{
    if (count == 0)
        return 0;
    size_t rank = (size_t)((double)count * share);
    return latencies[rank < count ? rank : count - 1];
}

static int run_queries(size_t in_flight, double seconds)
{
    struct epoll_event events[EVENTS];
    char *answer = malloc(ANSWER_LIMIT);

    clients = calloc(sources, sizeof *clients);
    latencies = malloc(LATENCIES * sizeof *latencies);
    if (clients == NULL || answer == NULL || latencies == NULL)
        die("malloc");
    for (uint32_t i = 0; i < sources; i++)
        clients[i].fd = -1;
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (poll_fd < 0)
        die("epoll_create1");

    double cpu = cpu_seconds(), began = now(), stop = began + seconds, last = began;
    for (size_t i = 0; i < in_flight; i++)
        start(now());
    while (busy > 0) {
        int ready = epoll_wait(poll_fd, events, EVENTS, 100);
        if (ready < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < ready; i++) {
            if (!step(events[i].data.ptr, answer, events[i].events))
                continue;
            last = now();
            if (last < stop)
                start(last);
        }
        if (now() > stop + DRAIN)
            break;
    }
    timeouts = busy;
    double wall = last - began, used = cpu_seconds() - cpu;
    size_t kept = answered < LATENCIES ? answered : LATENCIES;
    qsort(latencies, kept, sizeof *latencies, by_size);
    printf("{\"queries\": %zu, \"seconds\": %.6f, \"cpu_seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
           "\"max_us\": %.1f, \"connect_errors\": %zu, \"io_errors\": %zu, \"wrong_answers\": %zu, \"timeouts\": %zu}\n",
           answered, wall, used, quantile(kept, 0.50), quantile(kept, 0.99), quantile(kept, 1.0), connect_errors,
           io_errors, wrong_answers, timeouts);
    return 0;
}

static int hold(size_t count, double per_second)
{
    struct pollfd *held = calloc(count, sizeof *held);
    if (held == NULL)
        die("malloc");

    double began = now();
    for (size_t i = 0; i < count; i++) {
        double early = began + (double)i / per_second - now();
        if (early > 0.002) { /* in small steps, so that a slow server's accept queue is never flooded */
            struct timespec pause = {.tv_nsec = (long)(early * 1e9)};
            nanosleep(&pause, NULL);
        }
        held[i].fd = new_socket(HOLD_NET + (uint32_t)(i % sources));
        if (dial(held[i].fd) < 0)
            die("connect");
        if (query_size == 0 || send(held[i].fd, query, query_size, MSG_NOSIGNAL) == (ssize_t)query_size)
            held[i].revents = POLLOUT;
        held[i].events = POLLOUT;
    }
    size_t established = 0;
    for (size_t i = 0; i < count; i++) {
        /* Those that could not send at once wait for their handshake, which may need a second try by TCP. */
        double patience = began + (double)count / per_second + HANDSHAKE - now();
        if (held[i].revents != POLLOUT && poll(&held[i], 1, patience > 0 ? (int)(patience * 1e3) : 0) == 1 &&
            send(held[i].fd, query, query_size, MSG_NOSIGNAL) != (ssize_t)query_size)
            continue;
        held[i].events = POLLOUT;
        established += poll(&held[i], 1, 0) == 1 && (held[i].revents & (POLLERR | POLLHUP)) == 0;
    }
    printf("{\"established\": %zu, \"seconds\": %.3f}\n", established, now() - began);
    fflush(stdout);

    char ignored[64];
    while (read(STDIN_FILENO, ignored, sizeof ignored) > 0)
        continue;
    size_t open = 0;
    for (size_t i = 0; i < count; i++)
        open += recv(held[i].fd, ignored, sizeof ignored, 0) < 0 && errno == EAGAIN;
    printf("{\"still_open\": %zu}\n", open);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 8 && strcmp(argv[1], "query") == 0) {
        expected = argv[7];
        expected_size = strlen(expected);
    } else if (argc != 7 || strcmp(argv[1], "hold") != 0) {
        fprintf(stderr, "usage: load query PORT IN_FLIGHT SECONDS SOURCES QUERY EXPECTED\n"
                        "       load hold PORT COUNT PER_SECOND SOURCES PREFIX\n");
        return 2;
    }
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server.sin_port = htons((uint16_t)atoi(argv[2]));
    sources = (uint32_t)atoi(argv[5]);
    query = argv[6];
    query_size = strlen(query);
    if ((number = strchr(query, '#')) != NULL) {
        digits = strspn(number, "#");
        memset(number, '0', digits);
    }
    size_t count = (size_t)atol(argv[3]);
    if (sources == 0 || count == 0 || expected_size >= ANSWER_LIMIT || (expected != NULL && sources < count)) {
        fprintf(stderr, "load: counts start at 1, each query under way needs a source of its own, "
                        "answers end below %d bytes\n", ANSWER_LIMIT);
        return 2;
    }
    return expected != NULL ? run_queries(count, atof(argv[4])) : hold(count, atof(argv[4]));
}

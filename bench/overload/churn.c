/* Open-loop HTTP/1.1 load with a connection per request, and the model server behind it: one thread, so that neither
 * waits for the other to be given the CPU.
 *
 * churn PORT UPSTREAM HEADS BODY ANSWER SEED RATE SECONDS WARMUP CALLERS RANDOM AFTER QUICK
 *
 * UPSTREAM: port on which it answers every request with the bytes of ANSWER; 0 for none. HEADS: request heads, each ended
 * by an empty line, used in turn. BODY: one body in which twelve '@' become SEED (four digits) and a count. RATE: arrivals
 * a second (Poisson), 0 for a closed loop of CALLERS, who ask again at once. CALLERS: connections at most. An arrival that finds
 * none free, or comes too late because this program is too slow, is `unsent`. Times are from connect() to the last byte. AFTER: arrivals a second for as long again once
 * that is over, 0 for none; `recovered_s` is when, in it, the first of twenty answers in a row within QUICK ms was asked
 * for. Prints what became of the three phases (WARMUP, SECONDS, AFTER; a request belongs to the one it was sent in) as
 * one JSON object; times in ms.
 * One epoll, no allocation after the start but for a body that the kernel does not take whole.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

enum { HEAD_MAX = 4096, READ_MAX = 65536, EVENTS = 256, SOURCES = 64, PHASES = 3, SERVED_MAX = 20000, STEADY = 20 };
enum kind { CALLER, LISTENER, SERVED };

static const double DRAIN = 2.0; /* seconds that answers may take after the last request was sent */
static const int64_t LATEST = 5000000; /* ns after which an arrival is not made up for: the rate is then not reached */

/* -- who is connected */

struct connection {
    enum kind kind;
    int fd, phase, status, whole_head;
    char *rest; /* of a request that the kernel did not take whole */
    size_t rest_size, rest_sent;
    int64_t begun;
    int64_t left; /* bytes of the body that are missing */
    size_t head_size;
    char head[HEAD_MAX];
};

static struct phase {
    unsigned long long offered, unsent, ok, refused, broken, unanswered;
    struct histogram ok_ms, refused_ms, late_ms;
} phases[PHASES];

static struct {
    int port, upstream, callers;
    const char *seed;
    double rate, seconds, warm_up, later, quick;
    char **heads;
    size_t *head_sizes, count_heads;
    char *before, *after, *answer;
    size_t before_size, after_size, answer_size;
} plan;

static struct connection *pool, *served, listener;
static int *ready, ready_count, *unserved, unserved_count;
static char *scratch;
static int epoll_fd, open_requests;
static int64_t begun, turned, over; /* when the phases begin */
static int64_t quick_since;
static double recovered = -1;
static int quick_ones;
static unsigned long long number;

static void watch(struct connection *c, uint32_t wanted, int operation) {
    struct epoll_event event = {.events = wanted, .data.ptr = c};
    if (epoll_ctl(epoll_fd, operation, c->fd, &event) < 0) die("epoll_ctl");
}

/* -- messages, either way */

static void await_message(struct connection *c) {
    c->head_size = 0;
    c->whole_head = c->status = 0;
    c->left = 0;
}

static int feed(struct connection *c, const char *data, size_t size) { /* 1: whole, -1: no HTTP of ours */
    if (!c->whole_head) {
        size_t room = HEAD_MAX - c->head_size, had = c->head_size, taken = size < room ? size : room;
        memcpy(c->head + had, data, taken);
        c->head_size += taken;
        char *end = memmem(c->head, c->head_size, "\r\n\r\n", 4);
        if (!end) return c->head_size == HEAD_MAX ? -1 : 0;
        size_t used = (size_t)(end - c->head) + 4;
        for (char *line = c->head; (line = memchr(line, '\n', (size_t)(end - line))) && ++line < end;)
            if (!strncasecmp(line, "content-length:", 15)) c->left = atoll(line + 15);
        c->status = atoi(c->head + 9);
        c->whole_head = 1;
        size -= used - had;
    }
    c->left -= (int64_t)size;
    return c->left <= 0;
}

/* -- the model server */

static void begin_upstream(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)plan.upstream)};
    int yes = 1;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener.kind = LISTENER;
    listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    setsockopt(listener.fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (bind(listener.fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener.fd, 4096) < 0) die("upstream");
    watch(&listener, EPOLLIN, EPOLL_CTL_ADD);
    served = calloc(SERVED_MAX, sizeof *served);
    unserved = malloc(sizeof(int) * SERVED_MAX);
    if (!served || !unserved) die("malloc");
    for (int i = SERVED_MAX; i--;) unserved[unserved_count++] = i;
}

static void accept_gateway(void) {
    while (unserved_count) {
        int fd = accept4(listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        struct connection *c = &served[unserved[--unserved_count]];
        c->kind = SERVED;
        c->fd = fd;
        await_message(c);
        watch(c, EPOLLIN, EPOLL_CTL_ADD);
    }
}

static void serve(struct connection *c) {
    ssize_t n = recv(c->fd, scratch, READ_MAX, 0);
    if (n < 0 && errno == EAGAIN) return;
    int whole = n > 0 ? feed(c, scratch, (size_t)n) : -1;
    if (whole > 0) {
        await_message(c);
        if (send(c->fd, plan.answer, plan.answer_size, MSG_NOSIGNAL) == (ssize_t)plan.answer_size) return;
        whole = -1;
    }
    if (whole == 0) return;
    close(c->fd);
    unserved[unserved_count++] = (int)(c - served);
}

/* -- callers */

static void note_recovery(const struct connection *c, int quick) {
    if (!quick) quick_ones = 0;
    else if (!quick_ones++) quick_since = c->begun;
    if (quick_ones == STEADY) recovered = (double)(quick_since - over) / 1e9;
}

static void finish(struct connection *c, int whole) {
    struct phase *p = &phases[c->phase];
    int64_t took = now_ns() - c->begun;
    if (whole > 0 && c->status == 200) {
        p->ok++;
        record(&p->ok_ms, took);
    } else if (whole > 0 && c->status == 503) {
        p->refused++;
        record(&p->refused_ms, took);
    } else p->broken++;
    if (c->phase == 2 && recovered < 0) note_recovery(c, whole > 0 && c->status == 200 && (double)took <= plan.quick * 1e6);
    close(c->fd);
    free(c->rest);
    c->rest = NULL;
    open_requests--;
    ready[ready_count++] = (int)(c - pool);
}

static void read_answer(struct connection *c) {
    ssize_t n = recv(c->fd, scratch, READ_MAX, 0);
    if (n < 0 && errno == EAGAIN) return;
    int whole = n > 0 ? feed(c, scratch, (size_t)n) : -1;
    if (whole) finish(c, whole);
}

static size_t compose(void) {
    size_t which = number % plan.count_heads;
    char mark[24], *at = scratch;
    snprintf(mark, sizeof mark, "%.4s%08llu", plan.seed, number % 100000000ULL);
    number++;
    at = mempcpy(at, plan.heads[which], plan.head_sizes[which]);
    at = mempcpy(at, plan.before, plan.before_size);
    at = mempcpy(at, mark, 12);
    at = mempcpy(at, plan.after, plan.after_size);
    return (size_t)(at - scratch);
}

static void send_rest(struct connection *c) {
    while (c->rest_sent < c->rest_size) {
        ssize_t n = send(c->fd, c->rest + c->rest_sent, c->rest_size - c->rest_sent, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN) watch(c, EPOLLIN, EPOLL_CTL_MOD); /* refused meanwhile: its answer may be there */
            return;
        }
        c->rest_sent += (size_t)n;
    }
    watch(c, EPOLLIN, EPOLL_CTL_MOD);
}

static void begin(int phase) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)plan.port)}, from = {.sin_family = AF_INET};
    struct connection *c = &pool[ready[--ready_count]];
    int yes = 1;
    c->kind = CALLER;
    c->phase = phase;
    await_message(c);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    /* many source addresses, so that ports in TIME_WAIT do not run out */
    setsockopt(c->fd, IPPROTO_IP, 24 /* IP_BIND_ADDRESS_NO_PORT */, &yes, sizeof yes);
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 256 + (uint32_t)(number % SOURCES));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(c->fd, (struct sockaddr *)&from, sizeof from) < 0) die("bind");
    size_t size = compose(), sent = 0;
    open_requests++;
    c->begun = now_ns();
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) die("connect");
    /* over the loopback the connection stands already, unless the gateway's queue is full */
    ssize_t n = send(c->fd, scratch, size, MSG_NOSIGNAL);
    if (n > 0) sent = (size_t)n;
    else if (errno != EAGAIN && errno != ENOTCONN) die("send");
    if (sent < size) {
        c->rest = malloc(size - sent);
        if (!c->rest) die("malloc");
        memcpy(c->rest, scratch + sent, size - sent);
        c->rest_size = size - sent;
        c->rest_sent = 0;
    }
    watch(c, c->rest ? EPOLLIN | EPOLLOUT : EPOLLIN, EPOLL_CTL_ADD);
}

static void on_event(struct connection *c, uint32_t what) {
    if (c->kind == LISTENER) accept_gateway();
    else if (c->kind == SERVED) serve(c);
    else {
        if (c->rest && what & EPOLLOUT) send_rest(c);
        if (what & (EPOLLIN | EPOLLERR | EPOLLHUP)) read_answer(c);
    }
}

/* -- the clock of arrivals */

static void wait_until(int64_t due) {
    static struct epoll_event happened[EVENTS];
    int64_t left = due - now_ns();
    if (left < 0) left = 0;
    struct timespec patience = {.tv_sec = left / SECOND, .tv_nsec = left % SECOND};
    int n = epoll_pwait2(epoll_fd, happened, EVENTS, &patience, NULL);
    if (n < 0 && errno != EINTR) die("epoll_pwait2");
    for (int i = 0; i < n; i++) on_event(happened[i].data.ptr, happened[i].events);
}

static void arrive(int64_t due) {
    int64_t late = now_ns() - due;
    int phase = due >= over ? 2 : due >= turned;
    phases[phase].offered++;
    if (!ready_count || late > LATEST) {
        phases[phase].unsent++;
        return;
    }
    record(&phases[phase].late_ms, late);
    begin(phase);
}

static void run(void) {
    begun = now_ns();
    turned = begun + (int64_t)(plan.warm_up * 1e9);
    over = turned + (int64_t)(plan.seconds * 1e9);
    int64_t end = over + (int64_t)(plan.later > 0 ? plan.seconds * 1e9 : 0), due = begun, now;
    int64_t give_up = end + (int64_t)(DRAIN * 1e9);
    while ((now = now_ns()) < end || (open_requests && now < give_up)) {
        if (plan.rate == 0) {
            while (ready_count && now < end) arrive(now = now_ns());
        } else { /* a few at a time: answers are read in between, as soon as they come */
            for (int few = 8; few && due < end && due <= now; few--) {
                arrive(due);
                due += (int64_t)(1e9 / (due < over ? plan.rate : plan.later) * -log(uniform()));
            }
        }
        wait_until(plan.rate && due < end ? due : now + SECOND / 10);
    }
    for (int i = 0; i < plan.callers; i++) phases[pool[i].phase].unanswered++;
    for (int i = 0; i < ready_count; i++) phases[pool[ready[i]].phase].unanswered--;
}

/* -- files */

static size_t read_heads(const char *path) {
    size_t size, longest = 0;
    char *data = read_file(path, &size), *end = data + size, *next;
    plan.heads = malloc(sizeof(char *) * (size / 32 + 1));
    plan.head_sizes = malloc(sizeof(size_t) * (size / 32 + 1));
    for (char *at = data; at < end && (next = memmem(at, (size_t)(end - at), "\r\n\r\n", 4)); at = next + 4) {
        size_t length = (size_t)(next + 4 - at);
        plan.heads[plan.count_heads] = at;
        plan.head_sizes[plan.count_heads++] = length;
        if (length > longest) longest = length;
    }
    return longest;
}

static void read_body(const char *path) {
    size_t size;
    char *data = read_file(path, &size), *mark = memmem(data, size, "@@@@@@@@@@@@", 12);
    if (!mark) die("no mark in the body");
    plan.before = data;
    plan.before_size = (size_t)(mark - data);
    plan.after = mark + 12;
    plan.after_size = size - plan.before_size - 12;
}

static void open_pool(size_t longest) {
    size_t size = longest + plan.before_size + plan.after_size + 12;
    scratch = malloc(size > READ_MAX ? size : READ_MAX);
    pool = calloc((size_t)plan.callers, sizeof *pool);
    ready = malloc(sizeof(int) * (size_t)plan.callers);
    if (!scratch || !pool || !ready) die("malloc");
    for (int i = plan.callers; i--;) ready[ready_count++] = i;
}

static void print_phase(const struct phase *p, double seconds) {
    printf("{\"seconds\":%g,\"offered\":%llu,\"unsent\":%llu,\"ok\":%llu,\"refused\":%llu,\"broken\":%llu,\"unanswered\":%llu",
           seconds, p->offered, p->unsent, p->ok, p->refused, p->broken, p->unanswered);
    printf(",");
    print_histogram("admitted", &p->ok_ms);
    printf(",");
    print_histogram("turned_away", &p->refused_ms);
    printf(",");
    print_histogram("late", &p->late_ms);
    printf("}");
}

int main(int argc, char **argv) {
    if (argc != 14) {
        fprintf(stderr, "usage: churn PORT UPSTREAM HEADS BODY ANSWER SEED RATE SECONDS WARMUP CALLERS RANDOM AFTER QUICK\n");
        return 2;
    }
    plan.port = atoi(argv[1]);
    plan.upstream = atoi(argv[2]);
    size_t longest = read_heads(argv[3]);
    read_body(argv[4]);
    plan.answer = read_file(argv[5], &plan.answer_size);
    plan.seed = argv[6];
    plan.rate = atof(argv[7]);
    plan.seconds = atof(argv[8]);
    plan.warm_up = atof(argv[9]);
    plan.callers = atoi(argv[10]);
    random_state = (uint64_t)atoll(argv[11]) * 2 + 1;
    plan.later = atof(argv[12]);
    plan.quick = atof(argv[13]);
    prctl(PR_SET_TIMERSLACK, 1UL);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    open_pool(longest);
    if (plan.upstream) begin_upstream();
    run();
    printf("{\"onset\":");
    print_phase(&phases[0], plan.warm_up);
    printf(",\"steady\":");
    print_phase(&phases[1], plan.seconds);
    printf(",\"after\":");
    print_phase(&phases[2], plan.later > 0 ? plan.seconds : 0);
    printf(",\"recovered_s\":%g}\n", recovered);
    return 0;
}

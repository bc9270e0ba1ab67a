/* Open-loop HTTP/1.1 load over keep-alive connections: requests are due at times that no answer moves.
 *
 * poisson PORT HEADS BODY SEED RATE SECONDS WARMUP CONNECTIONS PACE CHURN RANDOM
 *
 * HEADS: request heads, each ended by an empty line, used in turn. BODY: one body in which twelve '@' become SEED (four
 * digits) and a count. PACE: poisson or constant. CHURN: requests per connection, 0 for no end; with it, what has not been
 * sent when the time is up is given up. Latency is counted from the time a request was due, so a queue here is latency
 * and not silence. Prints one JSON object; times in ms.
 * One thread, one epoll, no allocation after the start.
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

enum { HEAD_MAX = 16384, READ_MAX = 65536, EVENTS = 256, SOURCES = 64 };
enum state { CLOSED, CONNECTING, IDLE, BUSY };
enum framing { BY_LENGTH, BY_CHUNKS };

static const double DRAIN = 5.0; /* seconds that answers may take after the last request was due */

/* -- what a connection is doing */

struct connection {
    int fd, served;
    enum state state;
    char *out;
    size_t size, sent;
    int64_t due, last_event;
    char head[HEAD_MAX];
    size_t head_size;
    int in_body, status, closes;
    enum framing framing;
    int64_t left;             /* bytes of the body, or of the chunk, that are missing */
    int chunk_state, size_digits; /* 0 size line, 1 data, 2 end of data, 3 trailer */
    int64_t chunk_size;
    int line_length, counted;
};

static struct {
    int port, churn, connections;
    const char *seed;
    double rate, seconds, warm_up;
    int poisson;
    char **heads;
    size_t *head_sizes, count_heads, longest;
    char *before, *after;
    size_t before_size, after_size;
} plan;

static struct connection *pool;
static int *ready, ready_count; /* connections without a request, closed ones too */
static int64_t *queue;          /* due times that wait for a connection: a ring */
static size_t queue_head, queue_count, queue_size, given_up;
static int epoll_fd, open_requests;
static int64_t begun;
static unsigned long long number, offered, ok, refused, broken, events;
static struct histogram latency, first_event, gap, late;

static void watch(struct connection *c, uint32_t wanted, int operation) {
    struct epoll_event event = {.events = wanted, .data.ptr = c};
    if (epoll_ctl(epoll_fd, operation, c->fd, &event) < 0) die("epoll_ctl");
}

static void release(struct connection *c) { ready[ready_count++] = (int)(c - pool); }

static void shut(struct connection *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    c->state = CLOSED;
    c->served = 0;
}

static void dial(struct connection *c) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)plan.port)}, from = {.sin_family = AF_INET};
    int yes = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (plan.churn) { /* many source addresses, so that ports in TIME_WAIT do not run out */
        from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 256 + (uint32_t)(number % SOURCES));
        setsockopt(c->fd, IPPROTO_IP, 24 /* IP_BIND_ADDRESS_NO_PORT */, &yes, sizeof yes);
        if (bind(c->fd, (struct sockaddr *)&from, sizeof from) < 0) die("bind");
    }
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) die("connect");
    c->state = CONNECTING;
    watch(c, EPOLLOUT | EPOLLIN, EPOLL_CTL_ADD);
}

/* -- requests out */

static void write_more(struct connection *c) {
    while (c->sent < c->size) {
        ssize_t n = send(c->fd, c->out + c->sent, c->size - c->sent, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EAGAIN) watch(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            return; /* another error shows itself as the end of the connection */
        }
        c->sent += (size_t)n;
    }
}

static void compose(struct connection *c) {
    size_t which = number % plan.count_heads;
    char mark[24], *at = c->out;
    snprintf(mark, sizeof mark, "%.4s%08llu", plan.seed, number % 100000000ULL);
    number++;
    at = mempcpy(at, plan.heads[which], plan.head_sizes[which]);
    at = mempcpy(at, plan.before, plan.before_size);
    at = mempcpy(at, mark, 12);
    at = mempcpy(at, plan.after, plan.after_size);
    c->size = (size_t)(at - c->out);
    c->sent = 0;
}

static void send_request(struct connection *c) {
    if (c->counted) record(&late, now_ns() - c->due);
    c->state = BUSY;
    write_more(c);
}

static void begin(struct connection *c, int64_t due) {
    compose(c);
    c->due = due;
    c->last_event = 0;
    c->counted = due - begun >= (int64_t)(plan.warm_up * 1e9);
    offered += (unsigned)c->counted;
    c->head_size = 0;
    c->in_body = 0;
    open_requests++;
    if (c->state == CLOSED) dial(c);
    else send_request(c);
}

static void dispatch(void) {
    while (queue_count && ready_count) {
        int64_t due = queue[queue_head];
        queue_head = (queue_head + 1) % queue_size;
        queue_count--;
        begin(&pool[ready[--ready_count]], due);
    }
}

/* -- answers in */

static void finish(struct connection *c, int whole) {
    if (c->counted) {
        if (!whole) broken++;
        else if (c->status != 200) refused++;
        else {
            ok++;
            record(&latency, now_ns() - c->due);
        }
    }
    open_requests--;
    c->served++;
    c->state = IDLE;
    if (!whole || c->closes || (plan.churn && c->served >= plan.churn)) shut(c);
    release(c);
}

static int parse_head(struct connection *c, size_t size) {
    char *line = c->head, *end = c->head + size;
    c->status = atoi(c->head + 9);
    c->framing = BY_LENGTH;
    c->left = 0;
    c->closes = 0;
    while ((line = memchr(line, '\n', (size_t)(end - line))) && ++line < end) {
        if (!strncasecmp(line, "content-length:", 15)) c->left = atoll(line + 15);
        else if (!strncasecmp(line, "transfer-encoding: chunked", 26)) c->framing = BY_CHUNKS;
        else if (!strncasecmp(line, "connection: close", 17)) c->closes = 1;
    }
    c->in_body = 1;
    c->chunk_state = c->line_length = c->size_digits = 0;
    c->chunk_size = 0;
    return c->framing == BY_LENGTH && c->left == 0;
}

static void note_events(struct connection *c, const char *data, size_t size) {
    int found = 0;
    for (const char *at = data; (at = memmem(at, size - (size_t)(at - data), "data: ", 6)); at += 6) found++;
    if (!found) return;
    int64_t now = now_ns();
    if (c->counted) {
        events += (unsigned)found;
        if (!c->last_event) record(&first_event, now - c->due);
        else record(&gap, now - c->last_event);
        while (--found) record(&gap, 0); /* events that came together */
    }
    c->last_event = now;
}

static int hex(char letter) {
    if (letter >= '0' && letter <= '9') return letter - '0';
    letter |= 32;
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

static int feed_line(struct connection *c, char letter) { /* 1 when the body ends with this letter */
    if (letter != '\n') {
        int digit = c->chunk_state == 0 && !c->size_digits ? hex(letter) : -1;
        if (digit >= 0) c->chunk_size = c->chunk_size * 16 + digit;
        else c->size_digits = 1; /* the size is complete, whatever follows */
        c->line_length += letter != '\r';
        return 0;
    }
    if (c->chunk_state == 0) {
        c->left = c->chunk_size;
        c->chunk_state = c->chunk_size ? 1 : 3;
    } else if (c->chunk_state == 2) c->chunk_state = 0;
    else if (c->line_length == 0) return 1;
    c->line_length = c->size_digits = 0;
    c->chunk_size = 0;
    return 0;
}

static int feed_chunks(struct connection *c, const char *data, size_t size) {
    for (size_t i = 0; i < size;) {
        if (c->chunk_state == 1) {
            size_t take = (int64_t)(size - i) < c->left ? size - i : (size_t)c->left;
            i += take;
            if ((c->left -= (int64_t)take) == 0) c->chunk_state = 2;
        } else if (feed_line(c, data[i++])) return 1;
    }
    return 0;
}

static int feed(struct connection *c, const char *data, size_t size) { /* 1 when the answer is whole */
    if (!c->in_body) {
        if (size > HEAD_MAX - c->head_size) return 1;
        memcpy(c->head + c->head_size, data, size);
        size_t had = c->head_size;
        c->head_size += size;
        char *end = memmem(c->head, c->head_size, "\r\n\r\n", 4);
        if (!end) return 0;
        size_t used = (size_t)(end - c->head) + 4;
        if (parse_head(c, used)) return 1;
        data += used - had;
        size -= used - had;
    }
    if (c->framing == BY_CHUNKS) {
        note_events(c, data, size);
        return feed_chunks(c, data, size);
    }
    c->left -= (int64_t)size;
    return c->left <= 0;
}

static void on_end(struct connection *c) {
    if (c->state == BUSY || c->state == CONNECTING) {
        if (open_requests > 0) finish(c, 0);
    } else shut(c); /* an idle one is opened again when it is needed */
}

static void on_readable(struct connection *c) {
    static char data[READ_MAX];
    for (;;) {
        ssize_t n = recv(c->fd, data, sizeof data, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) {
            on_end(c);
            return;
        }
        if (c->state == BUSY && feed(c, data, (size_t)n)) {
            finish(c, 1);
            return;
        }
        if (n < (ssize_t)sizeof data) return;
    }
}

static void on_event(struct connection *c, uint32_t what) {
    if (c->state == CLOSED) return;
    if (what & EPOLLOUT) {
        watch(c, EPOLLIN, EPOLL_CTL_MOD);
        if (c->state == CONNECTING && !(what & (EPOLLERR | EPOLLHUP))) send_request(c);
        else if (c->state == BUSY) write_more(c);
    }
    if (what & (EPOLLIN | EPOLLERR | EPOLLHUP)) on_readable(c);
}

/* -- the clock of arrivals */

static void enqueue(int64_t due) {
    if (queue_count == queue_size) return; /* never: the ring holds every request of the run */
    queue[(queue_head + queue_count++) % queue_size] = due;
}

static void wait_until(int64_t due) {
    static struct epoll_event happened[EVENTS];
    int64_t left = due - now_ns();
    if (left < 0) left = 0;
    struct timespec patience = {.tv_sec = left / SECOND, .tv_nsec = left % SECOND};
    int n = epoll_pwait2(epoll_fd, happened, EVENTS, &patience, NULL);
    if (n < 0 && errno != EINTR) die("epoll_pwait2");
    for (int i = 0; i < n; i++) on_event(happened[i].data.ptr, happened[i].events);
}

static void run(void) {
    begun = now_ns();
    int64_t end = begun + (int64_t)((plan.warm_up + plan.seconds) * 1e9), due = begun;
    int64_t give_up = end + (int64_t)(DRAIN * 1e9);
    while (due < end || ((open_requests || queue_count) && now_ns() < give_up)) {
        while (due < end && due <= now_ns()) {
            enqueue(due);
            due += (int64_t)(1e9 / plan.rate * (plan.poisson ? -log(uniform()) : 1.0));
        }
        if (plan.churn && now_ns() >= end) {
            given_up += queue_count;
            queue_count = 0;
        }
        dispatch();
        wait_until(due < end ? due : give_up < now_ns() + SECOND / 10 ? give_up : now_ns() + SECOND / 10);
        dispatch();
    }
}

static void read_heads(const char *path) {
    size_t size;
    char *data = read_file(path, &size), *end = data + size, *next;
    plan.heads = malloc(sizeof(char *) * (size / 32 + 1));
    plan.head_sizes = malloc(sizeof(size_t) * (size / 32 + 1));
    for (char *at = data; at < end && (next = memmem(at, (size_t)(end - at), "\r\n\r\n", 4)); at = next + 4) {
        plan.heads[plan.count_heads] = at;
        plan.head_sizes[plan.count_heads] = (size_t)(next + 4 - at);
        if (plan.head_sizes[plan.count_heads] > plan.longest) plan.longest = plan.head_sizes[plan.count_heads];
        plan.count_heads++;
    }
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

static void open_pool(void) {
    size_t longest = plan.longest + plan.before_size + plan.after_size + 12;
    pool = calloc((size_t)plan.connections, sizeof *pool);
    ready = malloc(sizeof(int) * (size_t)plan.connections);
    queue_size = (size_t)(plan.rate * (plan.seconds + plan.warm_up) * 1.5) + 10000;
    queue = malloc(sizeof(int64_t) * queue_size);
    if (!pool || !ready || !queue) die("malloc");
    for (int i = 0; i < plan.connections; i++) {
        pool[i].fd = -1;
        pool[i].out = malloc(longest);
        if (!pool[i].out) die("malloc");
        release(&pool[i]);
    }
}

int main(int argc, char **argv) {
    if (argc != 12) {
        fprintf(stderr, "usage: poisson PORT HEADS BODY SEED RATE SECONDS WARMUP CONNECTIONS PACE CHURN RANDOM\n");
        return 2;
    }
    plan.port = atoi(argv[1]);
    read_heads(argv[2]);
    read_body(argv[3]);
    plan.seed = argv[4];
    plan.rate = atof(argv[5]);
    plan.seconds = atof(argv[6]);
    plan.warm_up = atof(argv[7]);
    plan.connections = atoi(argv[8]);
    plan.poisson = !strcmp(argv[9], "poisson");
    plan.churn = atoi(argv[10]);
    random_state = (uint64_t)atoll(argv[11]) * 2 + 1;
    prctl(PR_SET_TIMERSLACK, 1UL);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    open_pool();
    run();
    printf("{\"offered\":%llu,\"ok\":%llu,\"refused\":%llu,\"broken\":%llu,\"unfinished\":%zu,\"events\":%llu,", offered, ok,
           refused, broken, given_up + queue_count + (size_t)open_requests, events);
    print_histogram("latency", &latency);
    putchar(',');
    print_histogram("first_event", &first_event);
    putchar(',');
    print_histogram("gap", &gap);
    putchar(',');
    print_histogram("late", &late);
    printf("}\n");
    return 0;
}

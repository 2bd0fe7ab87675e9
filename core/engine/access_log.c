#include "engine/access_log.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/syslog.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    QUEUE_SIZE = 1 << 20, /* some 4,000 lines for each worker */
    NAP_MS = 10,          /* while lines come, the writer looks so often instead of being woken for each */
    PIPE_CHUNK = 4096,    /* PIPE_BUF: a pipe that polls writable takes so much without blocking */
    STOP_MS = 2000,
};

/* One producer (a worker), one consumer (the writer): positions only grow, and each is written by one side. */
struct access_queue {
    struct access_log *log;
    struct access_queue *next; /* of an older one; the writer's once the queue stands in log->queues */
    enum config_access_format format;
    struct bytes line;     /* the producer's */
    _Atomic uint64_t head; /* the writer has read up to here */
    _Atomic uint64_t tail; /* the worker has written up to here */
    _Atomic uint64_t lost;
    uint64_t lost_reported; /* the writer's */
    uint32_t holders;       /* the maker's thread's */
    atomic_bool released;   /* the worker will write no more */
    char bytes[QUEUE_SIZE];
};

struct access_log {
    char *target;          /* ours */
    int fd;                /* ours, unless it is stdout or stderr; of a syslog, its own */
    struct syslog *syslog; /* ours; NULL: the target is none */
    bool is_file;
    bool failing;          /* the last write failed, and was reported */
    bool torn;             /* what was written last is not a whole line */
    _Atomic uint64_t lost; /* lines that the target refused */
    void (*thread_begins)(void);
    pthread_t thread;
    sem_t begun; /* posted once: thread_begins has returned */
    sem_t wake;
    atomic_bool asleep;
    atomic_bool reopen;
    atomic_bool stop;
    struct timespec stop_by;
    _Atomic(struct access_queue *) queues; /* whoever makes one puts it in front, only the writer takes one out */
};

/* --- formatting ------------------------------------------------------------------------------------------------- */

static void append_number(struct bytes *line, uint64_t number) {
    char text[20];
    size_t at = sizeof text;
    do {
        text[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    bytes_append(line, text + at, sizeof text - at);
}

/* Microseconds as milliseconds with three decimals. */
static void append_ms(struct bytes *line, int64_t us) {
    char decimals[4] = {'.', (char)('0' + us / 100 % 10), (char)('0' + us / 10 % 10), (char)('0' + us % 10)};
    append_number(line, (uint64_t)us / 1000);
    bytes_append(line, decimals, sizeof decimals);
}

static void append_key(struct bytes *line, enum config_access_format format, const char *key) {
    bool json = format == ACCESS_FORMAT_JSON;
    bytes_append_text(line, json ? ",\"" : " ");
    bytes_append_text(line, key);
    bytes_append_text(line, json ? "\":" : "=");
}

static bool is_one_word(const char *text) {
    const char *at = text;
    while (*at != '\0' && *at != ' ' && *at != '=' && *at != '"') {
        at++;
    }
    return at > text && *at == '\0';
}

/* A text value is quoted where it would not be one word. */
static void append_word(struct bytes *line, const char *text) {
    if (is_one_word(text)) {
        bytes_append_escaped(line, text, strlen(text));
        return;
    }
    bytes_append_char(line, '"');
    for (const char *rest = text; *rest != '\0';) {
        size_t plain = strcspn(rest, "\"");
        bytes_append_escaped(line, rest, plain);
        rest += plain;
        if (*rest == '"') {
            bytes_append_text(line, "\\\"");
            rest++;
        }
    }
    bytes_append_char(line, '"');
}

static void append_text(struct bytes *line, enum config_access_format format, const char *key, const char *text) {
    append_key(line, format, key);
    if (format == ACCESS_FORMAT_JSON && text == NULL) {
        bytes_append_text(line, "null");
    } else if (format == ACCESS_FORMAT_JSON) {
        bytes_append_json(line, text);
    } else {
        append_word(line, text == NULL ? "-" : text);
    }
}

static void append_count(struct bytes *line, enum config_access_format format, const char *key, uint64_t count) {
    append_key(line, format, key);
    append_number(line, count);
}

static void append_time(struct bytes *line, enum config_access_format format, const char *key, int64_t us) {
    append_key(line, format, key);
    if (us < 0) {
        bytes_append_text(line, format == ACCESS_FORMAT_JSON ? "null" : "-");
    } else {
        append_ms(line, us);
    }
}

static void append_count_or_none(struct bytes *line, enum config_access_format format, const char *key, int64_t count) {
    if (count < 0) {
        append_time(line, format, key, -1);
    } else {
        append_count(line, format, key, (uint64_t)count);
    }
}

static void append_tcp(struct bytes *line, enum config_access_format format, const struct access_tcp *tcp) {
    append_time(line, format, "client_rtt_ms", tcp->client_rtt_us);
    append_count_or_none(line, format, "client_retransmits", tcp->client_retransmits);
    append_time(line, format, "server_rtt_ms", tcp->server_rtt_us);
    append_count_or_none(line, format, "server_retransmits", tcp->server_retransmits);
}

void access_record_format(const struct access_record *record, enum config_access_format format, struct bytes *line) {
    char time[CLOCK_TEXT_SIZE];
    clock_format(record->time_ms, time);
    bytes_append_text(line, format == ACCESS_FORMAT_JSON ? "{\"time\":\"" : "time=");
    bytes_append_text(line, time);
    bytes_append_text(line, format == ACCESS_FORMAT_JSON ? "\"" : "");
    append_text(line, format, "event", record->event);
    append_count(line, format, "id", record->id);
    append_count(line, format, "worker", record->worker);
    append_text(line, format, "listener", record->listener);
    append_text(line, format, "client", record->client);
    append_text(line, format, "upstream", record->upstream);
    append_text(line, format, "server", record->server);
    append_text(line, format, "server_address", record->server_address);
    append_count(line, format, "tries", record->tries);
    append_time(line, format, "connect_ms", record->connect_us);
    append_time(line, format, "first_byte_ms", record->first_byte_us);
    append_time(line, format, "duration_ms", record->duration_us);
    append_count(line, format, "from_client_bytes", record->from_client_bytes);
    append_count(line, format, "from_server_bytes", record->from_server_bytes);
    append_text(line, format, "reason", record->reason);
    append_text(line, format, "ended_by", record->ended_by);
    append_text(line, format, "error", record->error);
    if (record->tcp != NULL) {
        append_tcp(line, format, record->tcp);
    }
    bytes_append_text(line, format == ACCESS_FORMAT_JSON ? "}\n" : "\n");
}

/* --- the worker's side ------------------------------------------------------------------------------------------ */

static void queue_copy_in(struct access_queue *queue, uint64_t tail, const char *bytes, size_t size) {
    size_t at = tail % QUEUE_SIZE;
    size_t first = size < QUEUE_SIZE - at ? size : QUEUE_SIZE - at;
    memcpy(queue->bytes + at, bytes, first);
    memcpy(queue->bytes, bytes + first, size - first);
}

static void log_wake(struct access_log *log) {
    if (atomic_load(&log->asleep) && atomic_exchange(&log->asleep, false)) {
        sem_post(&log->wake);
    }
}

bool access_queue_write(struct access_queue *queue, const struct access_record *record) {
    bytes_clear(&queue->line);
    access_record_format(record, queue->format, &queue->line);
    uint64_t tail = atomic_load_explicit(&queue->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&queue->head, memory_order_acquire);
    if (queue->line.failed || queue->line.size > QUEUE_SIZE - (tail - head)) {
        queue->line.failed = false;
        atomic_fetch_add_explicit(&queue->lost, 1, memory_order_relaxed);
        return false;
    }
    queue_copy_in(queue, tail, queue->line.data, queue->line.size);
    /* Sequentially consistent, as is the writer's "asleep, then look once more": one of both sees the other. */
    atomic_store(&queue->tail, tail + queue->line.size);
    log_wake(queue->log);
    return true;
}

uint64_t access_queue_lost(const struct access_queue *queue) {
    return atomic_load_explicit(&queue->lost, memory_order_relaxed);
}

struct access_queue *access_queue_create(struct access_log *log, enum config_access_format format) {
    struct access_queue *queue = calloc(1, sizeof *queue);
    if (queue == NULL) {
        return NULL;
    }
    queue->log = log;
    queue->holders = 1;
    queue->format = format;
    bytes_init(&queue->line);
    queue->next = atomic_load(&log->queues);
    while (!atomic_compare_exchange_weak(&log->queues, &queue->next, queue)) {
    }
    return queue;
}

struct access_queue *access_queue_hold(struct access_queue *queue) {
    queue->holders++;
    return queue;
}

void access_queue_release(struct access_queue *queue) {
    struct access_log *log = queue->log;
    if (--queue->holders == 0) {
        atomic_store(&queue->released, true); /* from here on it may be gone */
        log_wake(log);
    }
}

enum config_access_format access_queue_format(const struct access_queue *queue) {
    return queue->format;
}

uint64_t access_log_lost(const struct access_log *log) {
    return atomic_load_explicit(&log->lost, memory_order_relaxed);
}

bool access_log_has_no_queue(const struct access_log *log) {
    return atomic_load(&log->queues) == NULL;
}

const char *access_log_target(const struct access_log *log) {
    return log->target;
}

static void queue_free(struct access_queue *queue) {
    bytes_finish(&queue->line);
    free(queue);
}

/* --- the writer's side ------------------------------------------------------------------------------------------ */

static bool target_is_standard(const char *target) {
    return strcmp(target, "stdout") == 0 || strcmp(target, "stderr") == 0;
}

static int target_open(const char *target) {
    if (strcmp(target, "stdout") == 0) {
        return STDOUT_FILENO;
    }
    if (strcmp(target, "stderr") == 0) {
        return STDERR_FILENO;
    }
    /* Non-blocking, or it would wait for the reader of a named pipe, perhaps for ever: ENXIO when there is none. */
    int fd = open(target, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
    if (fd >= 0) {
        fcntl(fd, F_SETFL, O_APPEND);
    }
    return fd;
}

static bool is_regular(int fd) {
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

/* `syslog:/dev/log`: the path; NULL: it is another target. */
static const char *target_syslog(const char *target) {
    static const char scheme[] = "syslog:";
    return strncmp(target, scheme, strlen(scheme)) == 0 ? target + strlen(scheme) : NULL;
}

/* False: errno says why. */
static bool log_open_target(struct access_log *log) {
    const char *syslog_path = target_syslog(log->target);
    if (syslog_path == NULL) {
        log->fd = target_open(log->target);
        log->is_file = log->fd >= 0 && is_regular(log->fd);
        return log->fd >= 0;
    }
    log->syslog = malloc(sizeof *log->syslog);
    int result = log->syslog == NULL ? -ENOMEM : syslog_open(log->syslog, syslog_path);
    if (result < 0) {
        free(log->syslog);
        errno = -result;
        return false;
    }
    return true;
}

static void target_close(struct access_log *log) {
    if (log->syslog != NULL) {
        syslog_close(log->syslog);
        free(log->syslog);
    } else if (!target_is_standard(log->target)) {
        close(log->fd);
    }
}

static bool is_past(const struct timespec *by) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec > by->tv_sec || (now.tv_sec == by->tv_sec && now.tv_nsec >= by->tv_nsec);
}

static bool log_gives_up(struct access_log *log) {
    return atomic_load(&log->stop) && is_past(&log->stop_by);
}

/* Waits until a pipe takes bytes; a file always does. False: it is time to stop. */
static bool log_wait_writable(struct access_log *log) {
    struct pollfd target = {.fd = log->syslog != NULL ? log->syslog->fd : log->fd, .events = POLLOUT};
    while (!log->is_file && poll(&target, 1, 100) == 0) {
        if (log_gives_up(log)) {
            return false;
        }
    }
    return true;
}

static uint64_t count_lines(const char *bytes, size_t size) {
    uint64_t lines = 0;
    for (size_t i = 0; i < size; i++) {
        lines += bytes[i] == '\n';
    }
    return lines;
}

static void log_works(struct access_log *log) {
    if (log->failing) {
        log_warn("access log %s: writing works again", log->target);
        log->failing = false;
    }
}

static void log_lose(struct access_log *log, struct access_queue *queue, uint64_t lines, int number) {
    if (!log->failing) {
        log_error("access log %s: %s; lines are dropped until it works again", log->target, strerror(number));
        log->failing = true;
    }
    atomic_fetch_add_explicit(&queue->lost, lines, memory_order_relaxed);
    atomic_fetch_add_explicit(&log->lost, lines, memory_order_relaxed);
}

/* Sends one line, or takes the part of it that stands before the end of the queue's memory; the rest follows. */
static size_t log_send_some(struct access_log *log, struct access_queue *queue, const char *bytes, size_t size) {
    const char *newline = memchr(bytes, '\n', size);
    size_t part = newline != NULL ? (size_t)(newline - bytes) : size;
    syslog_append(log->syslog, bytes, part);
    if (newline == NULL) {
        return part;
    }
    int result = syslog_send(log->syslog);
    while (result == -EAGAIN && log_wait_writable(log)) {
        result = syslog_send(log->syslog);
    }
    if (result == 0) {
        log_works(log);
    } else {
        log_lose(log, queue, 1, -result);
    }
    return part + 1;
}

/* Writes some bytes. When the target refuses them (a full disk) they are counted as lost: 0 is never returned for
 * long, so that the queue goes on. */
static size_t log_write_some(struct access_log *log, struct access_queue *queue, const char *bytes, size_t size) {
    if (log->syslog != NULL) {
        return log_send_some(log, queue, bytes, size);
    }
    if (!log_wait_writable(log)) {
        return 0;
    }
    if (log->torn && log->failing && write(log->fd, "\n", 1) == 1) {
        log->torn = false; /* half a line must not swallow the next one */
    }
    ssize_t written = write(log->fd, bytes, log->is_file || size < PIPE_CHUNK ? size : PIPE_CHUNK);
    if (written >= 0) {
        log_works(log);
        log->torn = written > 0 && bytes[written - 1] != '\n';
        return (size_t)written;
    }
    if (errno == EINTR || errno == EAGAIN) {
        return 0;
    }
    log_lose(log, queue, count_lines(bytes, size), errno);
    return size;
}

/* Writes what the queue holds now. True when there was something. */
static bool queue_write_out(struct access_log *log, struct access_queue *queue) {
    uint64_t head = atomic_load_explicit(&queue->head, memory_order_relaxed);
    uint64_t tail = atomic_load(&queue->tail);
    bool any = head != tail;
    while (head != tail && !log_gives_up(log)) {
        size_t at = head % QUEUE_SIZE;
        size_t size = tail - head < QUEUE_SIZE - at ? (size_t)(tail - head) : QUEUE_SIZE - at;
        head += log_write_some(log, queue, queue->bytes + at, size);
        atomic_store_explicit(&queue->head, head, memory_order_release);
    }
    uint64_t lost = atomic_load_explicit(&queue->lost, memory_order_relaxed);
    if (lost != queue->lost_reported && !log->failing && head == tail) {
        log_warn("access log %s: %lu lines were lost", log->target, (unsigned long)(lost - queue->lost_reported));
        queue->lost_reported = lost;
    }
    return any;
}

/* Others may put queues in front of it meanwhile. */
static void log_take_out(struct access_log *log, struct access_queue *queue) {
    struct access_queue *front = queue;
    if (atomic_compare_exchange_strong(&log->queues, &front, queue->next)) {
        return;
    }
    while (front->next != queue) {
        front = front->next;
    }
    front->next = queue->next;
}

static bool log_write_out(struct access_log *log) {
    bool any = false;
    struct access_queue *next;
    for (struct access_queue *queue = atomic_load(&log->queues); queue != NULL; queue = next) {
        bool released = atomic_load(&queue->released); /* asked before: what came until then is written now */
        next = queue->next;
        any = queue_write_out(log, queue) || any;
        if (released && atomic_load(&queue->head) == atomic_load(&queue->tail)) {
            log_take_out(log, queue);
            queue_free(queue);
        }
    }
    return any;
}

static void log_do_reopen(struct access_log *log) {
    if (target_is_standard(log->target) || log->syslog != NULL) {
        return; /* (a syslog that went away is found again when a line is sent) */
    }
    int fd = target_open(log->target);
    if (fd < 0) {
        log_error("access log %s: cannot be opened again: %s; goes on with the old file", log->target, strerror(errno));
        return;
    }
    close(log->fd);
    log->fd = fd;
    log->torn = false;
    log->is_file = is_regular(fd);
    log_info("access log %s: opened again", log->target);
}

/* While lines come, naps; when none came for a nap, sleeps until a worker wakes it. */
static void log_rest(struct access_log *log, bool busy) {
    if (busy) {
        const struct timespec nap = {.tv_nsec = NAP_MS * 1000000L};
        nanosleep(&nap, NULL);
        return;
    }
    atomic_store(&log->asleep, true);
    if (log_write_out(log)) {
        atomic_store(&log->asleep, false);
        return;
    }
    while (sem_wait(&log->wake) < 0 && errno == EINTR) {
    }
}

static void *log_thread(void *argument) {
    struct access_log *log = argument;
    if (log->thread_begins != NULL) {
        log->thread_begins();
    }
    sem_post(&log->begun);
    for (;;) {
        if (atomic_exchange(&log->reopen, false)) {
            log_write_out(log); /* lines from before belong into the old file */
            log_do_reopen(log);
        }
        bool stop = atomic_load(&log->stop);
        bool busy = log_write_out(log);
        if (stop) {
            return NULL;
        }
        log_rest(log, busy);
    }
}

static struct access_log *access_log_open(const char *target, struct error *error) {
    struct access_log *log = calloc(1, sizeof *log);
    char *copy = strdup(target);
    if (log == NULL || copy == NULL) {
        error_set(error, "no memory for the access log");
        free(log);
        free(copy);
        return NULL;
    }
    log->target = copy;
    if (!log_open_target(log)) {
        error_set(error, "access log %s: cannot be opened: %s", target, strerror(errno));
        free(copy);
        free(log);
        return NULL;
    }
    return log;
}

struct access_log *access_log_create(const char *target, void (*thread_begins)(void), struct error *error) {
    struct access_log *log = access_log_open(target, error);
    if (log == NULL) {
        return NULL;
    }
    log->thread_begins = thread_begins;
    check(sem_init(&log->wake, 0, 0) == 0 && sem_init(&log->begun, 0, 0) == 0);
    int number = pthread_create(&log->thread, NULL, log_thread, log);
    if (number != 0) {
        error_set(error, "cannot start the access log's thread: %s", strerror(number));
        sem_destroy(&log->wake);
        sem_destroy(&log->begun);
        target_close(log);
        free(log->target);
        free(log);
        return NULL;
    }
    while (sem_wait(&log->begun) < 0 && errno == EINTR) {
    }
    return log;
}

void access_log_reopen(struct access_log *log) {
    atomic_store(&log->reopen, true);
    sem_post(&log->wake);
}

void access_log_destroy(struct access_log *log) {
    if (log == NULL) {
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &log->stop_by);
    log->stop_by.tv_sec += STOP_MS / 1000;
    atomic_store(&log->stop, true);
    sem_post(&log->wake);
    pthread_join(log->thread, NULL);
    struct access_queue *queue = atomic_load(&log->queues);
    while (queue != NULL) {
        struct access_queue *next = queue->next;
        queue_free(queue);
        queue = next;
    }
    target_close(log);
    sem_destroy(&log->wake);
    sem_destroy(&log->begun);
    free(log->target);
    free(log);
}

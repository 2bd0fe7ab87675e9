#include "recorder.h"

struct access_queue {
    struct access_log log;
};

struct access_queue *access_queue_create(struct access_log *log) {
    return (struct access_queue *)(void *)log;
}

void access_queue_write(struct access_queue *queue, const struct access_record *record) {
    queue->log.write(queue->log.holder, record);
}

uint64_t access_queue_lost(const struct access_queue *queue) {
    (void)queue;
    return 0;
}

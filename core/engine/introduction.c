#include "engine/introduction.h"

#include "engine/session.h"

#include <errno.h>
#include <stdlib.h>

static void introduction_ready(struct op *op, const struct completion *completion);

static struct introduction *introduction_begin(unsigned versions) {
    struct introduction *introduction = malloc(sizeof *introduction + PROXY_HEADER_MAX);
    if (introduction != NULL) {
        introduction->held = 0;
        proxy_header_begin(&introduction->header, versions);
    }
    return introduction;
}

struct introduction *introduction_trim(struct introduction *introduction) {
    struct introduction *trimmed = realloc(introduction, sizeof *introduction + introduction->header.size);
    return trimmed != NULL ? trimmed : introduction;
}

static void introduction_refuse(struct session *session, const char *why) {
    session->error = why;
    session_reset(session, CLOSE_PROXY_HEADER);
}

/* Nothing is there now (-EAGAIN), or nothing more comes: the client has ended (0), or its connection broke. */
static void introduction_wait(struct session *session, int result) {
    if (result == -EAGAIN || result == -EINTR) {
        session->from_client.recv_op.done = introduction_ready;
        ring_poll(session->engine->ring, &session->from_client.recv_op, session->client_end.fd, RING_POLL_READ);
    } else if (result < 0) {
        session->client_end.reset = true;
        session->error = error_name(-result);
        session_close(session, CLOSE_CLIENT_RESET);
    } else if (session->introduction->held > 0) {
        introduction_refuse(session, "the connection ended within its PROXY header");
    } else {
        session_close(session, CLOSE_CLIENT_FIN); /* somebody has looked whether we are there */
    }
}

/* Looks at what came, and takes what belongs to the header. A client that sends it byte by byte costs no more than a
 * poll for each: what was taken does not make its socket readable again. */
void introduction_read(struct session *session) {
    if (session->introduction == NULL) {
        session->introduction = introduction_begin(session->settings->proxy_versions);
        if (session->introduction == NULL) {
            session_close(session, CLOSE_RESOURCES);
            return;
        }
    }
    struct introduction *introduction = session->introduction;
    struct proxy_header *header = &introduction->header;
    uint32_t held = introduction->held;
    int fd = session->client_end.fd;
    int result = kernel_receive(fd, introduction->bytes + held, PROXY_HEADER_MAX - held, true);
    if (result > 0) {
        enum parse_result parsed = proxy_header_read(header, introduction->bytes, held + (uint32_t)result);
        if (parsed == PARSE_NO) {
            introduction_refuse(session, header->reason);
            return;
        }
        uint32_t wanted = parsed == PARSE_DONE ? header->size - held : (uint32_t)result;
        result = kernel_receive(fd, introduction->bytes + held, wanted, false);
        introduction->held += result > 0 ? (uint32_t)result : 0;
    }
    if (header->size > 0 && introduction->held == header->size) {
        session_introduced(session);
    } else {
        introduction_wait(session, result > 0 ? -EAGAIN : result);
    }
}

static void introduction_ready(struct op *op, const struct completion *completion) {
    struct session *session = session_of(container_of(op, struct flow, recv_op));
    (void)completion; /* an error shows when it is read */
    if (!session->owner.closing) {
        introduction_read(session);
    }
}

bool introduction_send(struct session *session) {
    struct address client;
    struct address destination;
    uint8_t bytes[PROXY_WRITTEN_MAX];
    session_peer(session, &client);
    session_destination(session, &destination);
    size_t size = proxy_header_write(bytes, session_upstream(session)->proxy_version, &client, &destination);
    /* A filter may have written to the server before there was one. */
    struct queue *queue = &session->from_client.queue;
    struct queue words = *queue;
    queue_init(queue);
    bool queued = queue_append_copy(queue, &session->engine->buffers, bytes, size);
    queue_move_all(&words, queue);
    return queued;
}

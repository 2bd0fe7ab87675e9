/* Messages to the syslog daemon of this machine: one datagram each to a unix socket like /dev/log, in the form of RFC
 * 3164 that every daemon behind such a socket reads: `<30>Jan  2 03:04:05 moonring[123]: text`. */
#ifndef MOONRING_BASE_SYSLOG_H
#define MOONRING_BASE_SYSLOG_H

#include <stddef.h>
#include <sys/un.h>

enum {
    SYSLOG_TEXT_MAX = 8000, /* daemons cut what is longer */
    SYSLOG_HEADER_MAX = 64,
};

struct syslog {
    int fd; /* ours; -1: not connected */
    struct sockaddr_un address;
    size_t size; /* of the text so far */
    char text[SYSLOG_TEXT_MAX];
};

/* Connects. path: at most 107 bytes. Returns 0 or -errno. */
int syslog_open(struct syslog *syslog, const char *path);
void syslog_close(struct syslog *syslog);
/* The text goes on with these bytes, as far as there is room. */
void syslog_append(struct syslog *syslog, const char *bytes, size_t size);
/* Sends the text and begins a new one. A daemon that was started anew is connected to again. Never waits: -EAGAIN, and
 * the text stays, when the daemon's queue is full (poll fd for writing). Else 0 or -errno, and the text is gone. */
int syslog_send(struct syslog *syslog);

#endif

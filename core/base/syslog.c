#include "base/syslog.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { PRIORITY = 3 * 8 + 6 }; /* daemon.info */

static int syslog_connect(struct syslog *syslog) {
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&syslog->address, sizeof syslog->address) == 0) {
        syslog->fd = fd;
        return 0;
    }
    int number = errno;
    if (fd >= 0) {
        close(fd);
    }
    return -number;
}

int syslog_open(struct syslog *syslog, const char *path) {
    syslog->fd = -1;
    syslog->size = 0;
    syslog->address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof syslog->address.sun_path) {
        return -ENAMETOOLONG;
    }
    strcpy(syslog->address.sun_path, path);
    return syslog_connect(syslog);
}

void syslog_close(struct syslog *syslog) {
    if (syslog->fd >= 0) {
        close(syslog->fd);
        syslog->fd = -1;
    }
}

void syslog_append(struct syslog *syslog, const char *bytes, size_t size) {
    size_t room = SYSLOG_TEXT_MAX - syslog->size;
    size = size < room ? size : room;
    memcpy(syslog->text + syslog->size, bytes, size);
    syslog->size += size;
}

/* Local time, without a year: so it was agreed on. */
static size_t header_write(char header[SYSLOG_HEADER_MAX]) {
    char date[32];
    struct tm local;
    time_t now = time(NULL);
    localtime_r(&now, &local);
    strftime(date, sizeof date, "%b %e %H:%M:%S", &local);
    return (size_t)snprintf(header, SYSLOG_HEADER_MAX, "<%d>%s moonring[%d]: ", PRIORITY, date, (int)getpid());
}

static int syslog_send_once(struct syslog *syslog) {
    char header[SYSLOG_HEADER_MAX];
    struct iovec parts[] = {{.iov_base = header, .iov_len = header_write(header)},
                            {.iov_base = syslog->text, .iov_len = syslog->size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    int connected = syslog->fd >= 0 ? 0 : syslog_connect(syslog);
    if (connected < 0) {
        return connected;
    }
    return sendmsg(syslog->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int syslog_send(struct syslog *syslog) {
    int result = syslog_send_once(syslog);
    if (result == -ECONNREFUSED || result == -ENOTCONN || result == -ECONNRESET) {
        syslog_close(syslog);
        result = syslog_send_once(syslog);
    }
    if (result != -EAGAIN && result != -EINTR) {
        syslog->size = 0;
    }
    return result == -EINTR ? -EAGAIN : result;
}

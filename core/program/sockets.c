#include "program/sockets.h"

#include "base/check.h"
#include "base/log.h"
#include "engine/ring.h"
#include "engine/settings.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { IN_USE_LOOKS = 20 }; /* of 50 ms */

/* --- explaining ------------------------------------------------------------------------------------------------- */

static const char *bind_advice(int number) {
    switch (number) {
    case EADDRINUSE:
        return "another program (or another moonring) listens there: `ss -lnp` shows which";
    case EADDRNOTAVAIL:
        return "this machine has no such address: `ip address` shows those it has";
    case EACCES:
    case EPERM:
        return "ports below 1024 need root, CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE) "
               "or a lower `sysctl net.ipv4.ip_unprivileged_port_start`; a unix socket needs the right to write into "
               "its directory";
    case ENOENT:
        return "the directory of the unix socket does not exist";
    case EMFILE:
    case ENFILE:
        return "no descriptor is left: raise `ulimit -n` (systemd: LimitNOFILE=)";
    case ENOTSOCK:
        return "a file that is no socket is there: move it away or choose another path";
    default:
        return "see bind(2)";
    }
}

static bool explain(struct error *error, const struct config *config, const struct listening_socket *socket,
                    const struct config_bind *bind, int number) {
    const char *name = config->listeners[socket->listener].name;
    if (bind->place.line == 0) {
        return error_set(error, "listener %s: cannot bind %s: %s: %s", name, bind->text, strerror(number),
                         bind_advice(number));
    }
    return error_set(error, "%s:%u:%u: listener %s: cannot bind %s: %s: %s", bind->place.file, bind->place.line,
                     bind->place.column, name, bind->text, strerror(number), bind_advice(number));
}

/* --- unix ------------------------------------------------------------------------------------------------------- */

static bool has_path(const struct address *address) {
    return address_is_unix(address) && address->local.sun_path[0] != '\0';
}

static bool is_socket(const char *path) {
    struct stat status;
    return lstat(path, &status) < 0 || S_ISSOCK(status.st_mode); /* what is gone by now is no obstacle */
}

/* A socket file that nobody listens on any more is left behind by every program that was killed. */
static bool remove_if_stale(const struct address *address) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return false;
    }
    bool stale = connect(fd, &address->any, address->length) < 0 && errno == ECONNREFUSED;
    close(fd);
    return stale && unlink(address->local.sun_path) == 0;
}

static bool set_group(const char *path, const char *group, struct error *error) {
    struct group *found = getgrnam(group);
    if (found == NULL) {
        return error_set(error, "unix socket %s: there is no group \"%s\"", path, group);
    }
    if (chown(path, (uid_t)-1, found->gr_gid) < 0) {
        return error_set(error, "unix socket %s: cannot be given to group \"%s\": %s", path, group, strerror(errno));
    }
    return true;
}

/* Nobody can connect before listen(2), so the rights are in place in time. */
static bool set_rights(struct listening_socket *socket, const struct config_bind *bind, struct error *error) {
    const char *path = socket->address.local.sun_path;
    struct stat status;
    if (lstat(path, &status) < 0) {
        return error_set(error, "unix socket %s: %s", path, strerror(errno));
    }
    socket->owns_path = true;
    socket->device = status.st_dev;
    socket->inode = status.st_ino;
    if (bind->group != NULL && !set_group(path, bind->group, error)) {
        return false;
    }
    if (bind->mode != CONFIG_MODE_DEFAULT && chmod(path, bind->mode) < 0) {
        return error_set(error, "unix socket %s: mode %04o cannot be set: %s", path, bind->mode, strerror(errno));
    }
    return true;
}

/* --- binding ---------------------------------------------------------------------------------------------------- */

static int bind_once(int fd, const struct address *address, const struct kernel_listen_options *options) {
    int result = kernel_bind(fd, address, options);
    if (result != -EADDRINUSE || !has_path(address)) {
        return result;
    }
    if (!is_socket(address->local.sun_path)) {
        return -ENOTSOCK;
    }
    return remove_if_stale(address) ? kernel_bind(fd, address, options) : result;
}

/* The kernel takes apart the ring of a killed process after its end: until then its addresses are in use. */
static int bind_patiently(int fd, const struct address *address, const struct kernel_listen_options *options) {
    const struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};
    int result = bind_once(fd, address, options);
    for (int look = 0; result == -EADDRINUSE && look < IN_USE_LOOKS; look++) {
        nanosleep(&pause, NULL);
        result = bind_once(fd, address, options);
    }
    return result;
}

static int open_and_bind(const struct address *address, const struct kernel_listen_options *options) {
    int fd = kernel_socket(address_family(address));
    if (fd < 0) {
        return fd;
    }
    int result = bind_patiently(fd, address, options);
    if (result < 0) {
        kernel_close(fd);
        return result;
    }
    return fd;
}

/* Where IPv6 is switched off, `:8080` means IPv4 alone. */
static int open_dual(struct address *address, const struct kernel_listen_options *options) {
    int fd = open_and_bind(address, options);
    if (options->dual_stack && (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)) {
        address_any_v4(address, address_port(address));
        log_info("IPv6 is off on this machine: port %u is bound for IPv4 only", address_port(address));
        fd = open_and_bind(address, options);
    }
    return fd;
}

static struct kernel_listen_options listen_options(const struct config_listener *listener,
                                                   const struct config_bind *bind) {
    return (struct kernel_listen_options){.reuse_port = !address_is_unix(&bind->address),
                                          .dual_stack = bind->dual_stack,
                                          .backlog = listener->tcp.backlog,
                                          .tcp = settings_tcp(&listener->tcp)};
}

/* Without SO_REUSEPORT, to see whether the address is free: with it, a second moonring of the same user would get half
 * of the first one's clients and nobody would notice. */
static int probe(const struct config_bind *bind, struct kernel_listen_options options) {
    struct address address = bind->address;
    if (address_is_unix(&address) || address_port(&address) == 0) {
        return 0;
    }
    options.reuse_port = false;
    int fd = open_dual(&address, &options);
    if (fd >= 0) {
        kernel_close(fd);
    }
    return fd < 0 ? fd : 0;
}

static bool bind_one(struct listening_socket *socket, const struct config *config, const struct config_bind *bind,
                     struct error *error) {
    const struct kernel_listen_options options = listen_options(&config->listeners[socket->listener], bind);
    socket->backlog = options.backlog;
    socket->fd = open_dual(&socket->address, &options);
    if (socket->fd < 0) {
        return explain(error, config, socket, bind, -socket->fd);
    }
    kernel_local_address(socket->fd, &socket->address);
    return !has_path(&socket->address) || set_rights(socket, bind, error);
}

/* All sockets of one address; the first one's port is that of the others. */
static bool bind_address(struct sockets *sockets, const struct config *config, size_t listener,
                         const struct config_bind *bind, uint32_t workers, struct error *error) {
    bool shared = address_is_unix(&bind->address);
    struct address address = bind->address;
    int probed = probe(bind, listen_options(&config->listeners[listener], bind));
    for (uint32_t worker = 0; worker < (shared ? 1 : workers); worker++) {
        struct listening_socket *socket = &sockets->items[sockets->count++];
        *socket = (struct listening_socket){.fd = -1,
                                            .listener = listener,
                                            .worker = shared ? SOCKET_OF_ALL : worker,
                                            .users = shared ? workers : 1,
                                            .first = worker == 0,
                                            .address = address};
        if (probed < 0) {
            return explain(error, config, socket, bind, -probed);
        }
        if (!bind_one(socket, config, bind, error)) {
            return false;
        }
        address = socket->address;
    }
    return true;
}

static size_t count_binds(const struct config *config) {
    size_t count = 0;
    for (size_t i = 0; i < config->listeners_count; i++) {
        count += config->listeners[i].binds_count;
    }
    return count;
}

static bool bind_all(struct sockets *sockets, const struct config *config, uint32_t workers, struct error *error) {
    for (size_t i = 0; i < config->listeners_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        for (size_t j = 0; j < listener->binds_count; j++) {
            if (!bind_address(sockets, config, i, &listener->binds[j], workers, error)) {
                return false;
            }
        }
    }
    return true;
}

bool sockets_bind(struct sockets *sockets, const struct config *config, uint32_t workers, struct error *error) {
    *sockets = (struct sockets){.items = calloc(count_binds(config) * workers, sizeof *sockets->items)};
    if (sockets->items == NULL) {
        return error_set(error, "no memory for the listening sockets");
    }
    if (!bind_all(sockets, config, workers, error)) {
        sockets_finish(sockets);
        return false;
    }
    return true;
}

bool sockets_listen(struct sockets *sockets, const struct config *config, struct error *error) {
    for (size_t i = 0; i < sockets->count; i++) {
        struct listening_socket *socket = &sockets->items[i];
        const struct kernel_listen_options options = {.backlog = socket->backlog};
        const char *name = config->listeners[socket->listener].name;
        char text[ADDRESS_TEXT_MAX];
        address_format(&socket->address, text, sizeof text);
        int result = kernel_listen(socket->fd, &options);
        if (result < 0) {
            return error_set(error, "listener %s: cannot listen on %s: %s", name, text, strerror(-result));
        }
        if (socket->first) {
            log_info("listener %s: listening on %s", name, text);
        }
    }
    return true;
}

/* --- closing ---------------------------------------------------------------------------------------------------- */

/* Another program may have replaced the file since. */
static void remove_path(const struct listening_socket *socket) {
    struct stat status;
    const char *path = socket->address.local.sun_path;
    if (socket->owns_path && lstat(path, &status) == 0 && status.st_dev == socket->device &&
        status.st_ino == socket->inode) {
        unlink(path);
    }
}

void sockets_leave(struct sockets *sockets, int fd) {
    for (size_t i = 0; i < sockets->count; i++) {
        struct listening_socket *socket = &sockets->items[i];
        if (socket->fd == fd) {
            if (atomic_fetch_sub(&socket->users, 1) == 1) {
                remove_path(socket);
                socket->fd = -1;
                kernel_close(fd);
            }
            return;
        }
    }
    check(false);
}

void sockets_finish(struct sockets *sockets) {
    for (size_t i = 0; i < sockets->count; i++) {
        if (sockets->items[i].fd >= 0) {
            remove_path(&sockets->items[i]);
            kernel_close(sockets->items[i].fd);
        }
    }
    free(sockets->items);
    *sockets = (struct sockets){.items = NULL};
}

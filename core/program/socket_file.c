#include "program/socket_file.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

bool address_has_path(const struct address *address) {
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

int socket_file_bind(int fd, const struct address *address, const struct kernel_listen_options *options) {
    int result = kernel_bind(fd, address, options);
    if (result != -EADDRINUSE || !address_has_path(address)) {
        return result;
    }
    if (!is_socket(address->local.sun_path)) {
        return -ENOTSOCK;
    }
    return remove_if_stale(address) ? kernel_bind(fd, address, options) : result;
}

static bool find_group(const char *path, const char *group, gid_t *number, struct error *error) {
    const struct group *found = getgrnam(group);
    if (found == NULL) {
        return error_set(error, "unix socket %s: there is no group \"%s\"", path, group);
    }
    *number = found->gr_gid;
    return true;
}

static bool set_group(const char *path, const char *group, struct error *error) {
    gid_t number = 0;
    if (!find_group(path, group, &number, error)) {
        return false;
    }
    if (chown(path, (uid_t)-1, number) < 0) {
        return error_set(error, "unix socket %s: cannot be given to group \"%s\": %s", path, group, error_name(errno));
    }
    return true;
}

/* As chown(2) has it for a file of our own. */
static bool may_give_to(gid_t group) {
    gid_t groups[1024];
    int count = getgroups(sizeof(groups) / sizeof(groups[0]), groups);
    bool may = geteuid() == 0 || getegid() == group;
    for (int index = 0; index < count && !may; index++) {
        may = groups[index] == group;
    }
    return may;
}

bool socket_file_can_have(const struct address *address, const char *group, struct error *error) {
    const char *path = address->local.sun_path;
    gid_t number = 0;
    if (group == NULL) {
        return true;
    }
    return find_group(path, group, &number, error) &&
           (may_give_to(number) ||
            error_set(error, "unix socket %s: cannot be given to group \"%s\": %s", path, group, error_name(EPERM)));
}

static bool is_same(const struct socket_file *file, const struct stat *status) {
    return status->st_dev == file->device && status->st_ino == file->inode;
}

bool socket_file_set_rights(struct socket_file *file, const struct address *address, uint32_t mode, const char *group,
                            struct error *error) {
    const char *path = address->local.sun_path;
    struct stat status;
    if (lstat(path, &status) < 0) {
        return error_set(error, "unix socket %s: %s", path, error_name(errno));
    }
    if (file->is_ours && !is_same(file, &status)) {
        return error_set(error, "unix socket %s: another program has put its own there", path);
    }
    *file = (struct socket_file){.is_ours = true, .device = status.st_dev, .inode = status.st_ino};
    if (group != NULL && !set_group(path, group, error)) {
        return false;
    }
    if (mode != CONFIG_MODE_DEFAULT && chmod(path, mode) < 0) {
        return error_set(error, "unix socket %s: mode %04o cannot be set: %s", path, mode, error_name(errno));
    }
    return true;
}

bool socket_file_is_at(const struct socket_file *file, const struct address *address) {
    struct stat status;
    return file->is_ours && lstat(address->local.sun_path, &status) == 0 && is_same(file, &status);
}

void socket_file_remove(struct socket_file *file, const struct address *address) {
    if (socket_file_is_at(file, address)) {
        unlink(address->local.sun_path);
    }
    file->is_ours = false;
}

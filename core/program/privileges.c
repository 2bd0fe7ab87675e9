#include "program/privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    NAME_MAX_SIZE = 64,     /* a user or group name with its 0; useradd allows 32 */
    ENTRY_SIZE = 64 * 1024, /* of a line of passwd or group; a group may list many members */
    CAPABILITY_WORDS = 2,   /* of 32 capabilities each, in _LINUX_CAPABILITY_VERSION_3 */
};

struct identity {
    char user[NAME_MAX_SIZE];
    uid_t uid;
    gid_t gid;
};

struct capabilities {
    struct __user_cap_data_struct words[CAPABILITY_WORDS];
};

/* glibc has no wrapper; both calls are about the calling thread alone. */
static bool capabilities_get(struct capabilities *capabilities) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    return syscall(SYS_capget, &header, capabilities->words) == 0;
}

static bool capabilities_set(const struct capabilities *capabilities) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    return syscall(SYS_capset, &header, capabilities->words) == 0;
}

/* --- finding the user ------------------------------------------------------------------------------------------- */

static bool user_find(struct identity *identity, struct error *error) {
    char entry[ENTRY_SIZE];
    struct passwd user;
    struct passwd *found = NULL;
    int failure = getpwnam_r(identity->user, &user, entry, sizeof(entry), &found);
    if (failure != 0) {
        return error_set(error, "process.user: looking up user \"%s\": %s", identity->user, error_name(failure));
    }
    if (found == NULL) {
        return error_set(error, "process.user: there is no user \"%s\"; make it: adduser --system --group %s",
                         identity->user, identity->user);
    }
    identity->uid = user.pw_uid;
    identity->gid = user.pw_gid;
    return true;
}

static bool group_find(struct identity *identity, const char *name, struct error *error) {
    char entry[ENTRY_SIZE];
    struct group group;
    struct group *found = NULL;
    int failure = getgrnam_r(name, &group, entry, sizeof(entry), &found);
    if (failure != 0) {
        return error_set(error, "process.user: looking up group \"%s\": %s", name, error_name(failure));
    }
    if (found == NULL) {
        return error_set(error, "process.user: there is no group \"%s\"; make it: addgroup --system %s", name, name);
    }
    identity->gid = group.gr_gid;
    return true;
}

static bool identity_find(struct identity *identity, const char *user, struct error *error) {
    size_t user_size = strcspn(user, ":");
    const char *group = user[user_size] == ':' ? user + user_size + 1 : NULL;
    if (user_size == 0 || user_size >= NAME_MAX_SIZE || (group != NULL && *group == 0)) {
        return error_set(error, "process.user: \"%s\" is neither USER nor USER:GROUP", user);
    }
    snprintf(identity->user, sizeof(identity->user), "%.*s", (int)user_size, user);
    return user_find(identity, error) && (group == NULL || group_find(identity, group, error));
}

/* --- becoming it ------------------------------------------------------------------------------------------------ */

/* Leaves the right to bind low ports, unless root itself lacks it (containers take it away). */
static bool capabilities_keep_bind(void) {
    struct capabilities capabilities;
    if (!capabilities_get(&capabilities)) {
        return false;
    }
    uint32_t bind = capabilities.words[0].permitted & (UINT32_C(1) << CAP_NET_BIND_SERVICE);
    capabilities = (struct capabilities){.words[0] = {.permitted = bind, .effective = bind}};
    return capabilities_set(&capabilities);
}

/* Linux counts the memory of rings (6.14 and later: all of it) against the locked memory of the user that is not root,
 * and 8 MiB are usual. Where root itself may not raise it, making a ring tells. */
static void locked_memory_raise(void) {
    const struct rlimit unlimited = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    setrlimit(RLIMIT_MEMLOCK, &unlimited);
}

/* The order matters: groups can only be set while we are root, and leaving uid 0 would take every capability at once
 * if it were not for PR_SET_KEEPCAPS. */
static bool identity_become(const struct identity *identity, struct error *error) {
    const char *failed = NULL;
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) {
        failed = "keeping capabilities";
    } else if (initgroups(identity->user, identity->gid) != 0) {
        failed = "setting the groups";
    } else if (setresgid(identity->gid, identity->gid, identity->gid) != 0) {
        failed = "setting the group";
    } else if (setresuid(identity->uid, identity->uid, identity->uid) != 0) {
        failed = "setting the user";
    } else if (!capabilities_keep_bind()) {
        failed = "giving up capabilities";
    } else if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        failed = "closing the way back";
    }
    if (failed != NULL) {
        return error_set(error, "process.user: becoming \"%s\": %s: %s", identity->user, failed, error_name(errno));
    }
    return true;
}

bool privileges_drop(const char *user, struct error *error) {
    struct identity identity;
    if (!identity_find(&identity, user, error)) {
        return false;
    }
    if (geteuid() == identity.uid && getegid() == identity.gid) {
        return true; /* a service manager made us that user, or the file says that root is wanted */
    }
    if (geteuid() == 0) {
        locked_memory_raise();
        return identity_become(&identity, error);
    }
    return error_set(error,
                     "process.user: only root can become \"%s\", and this is user %u: start moonring as root "
                     "or as that user, or leave process.user out",
                     user, (unsigned)geteuid());
}

bool privileges_drop_thread(struct error *error) {
    struct capabilities none = {0};
    if (!capabilities_set(&none)) {
        return error_set(error, "giving up a worker's capabilities: %s", error_name(errno));
    }
    return true;
}

const char *privileges_warning(void) {
    if (geteuid() != 0) {
        return NULL;
    }
    return "running as root: set process.user to a user of its own (make it: adduser --system --group moonring)";
}

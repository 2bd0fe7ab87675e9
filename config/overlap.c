#include "config/overlap.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

/* A bind in a form that sorts: those of one port stand together, of these equal ones, wildcards first. */
struct taken {
    const struct config_bind *bind;
    const struct node *node;
    size_t order;
    int family;
    uint16_t port;
    unsigned char name[sizeof(struct sockaddr_un)]; /* IP address or path */
    size_t name_size;
    bool any; /* every address of its family */
};

static void taken_set_ip(struct taken *taken, int family, const void *ip, size_t size) {
    taken->family = family;
    taken->name_size = size;
    memcpy(taken->name, ip, size);
    taken->any = true;
    for (size_t index = 0; index < size; index++) {
        taken->any = taken->any && taken->name[index] == 0;
    }
}

static struct taken taken_from(const struct address *address) {
    struct taken taken = {.family = address_family(address), .port = address_port(address)};
    const struct in6_addr *v6 = &address->v6.sin6_addr;
    if (taken.family == AF_INET) {
        taken_set_ip(&taken, AF_INET, &address->v4.sin_addr, sizeof(address->v4.sin_addr));
    } else if (taken.family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(v6)) {
        taken_set_ip(&taken, AF_INET, &v6->s6_addr[12], sizeof(struct in_addr));
    } else if (taken.family == AF_INET6) {
        taken_set_ip(&taken, AF_INET6, v6, sizeof(*v6));
    } else if (taken.family == AF_UNIX) {
        taken.name_size = address->length - offsetof(struct sockaddr_un, sun_path);
        memcpy(taken.name, address->local.sun_path, taken.name_size);
    }
    return taken;
}

static int taken_compare_names(const struct taken *a, const struct taken *b) {
    size_t size = a->name_size < b->name_size ? a->name_size : b->name_size;
    int order = memcmp(a->name, b->name, size);
    return order != 0 ? order : (int)a->name_size - (int)b->name_size;
}

static int taken_compare(const void *left, const void *right) {
    const struct taken *a = left;
    const struct taken *b = right;
    if (a->port != b->port) {
        return a->port < b->port ? -1 : 1;
    }
    if (a->family != b->family) {
        return a->family < b->family ? -1 : 1;
    }
    int order = taken_compare_names(a, b);
    return order != 0 ? order : a->order < b->order ? -1 : 1;
}

static bool taken_is_same(const struct taken *a, const struct taken *b) {
    return a->port == b->port && a->family == b->family && taken_compare_names(a, b) == 0;
}

static bool taken_covers(const struct taken *a, const struct taken *b) {
    bool family_is_covered = a->family == b->family || (a->bind->dual_stack && b->family == AF_INET);
    return a->any && family_is_covered && b->family != AF_UNIX && a->port == b->port;
}

/* ---- reports ---- */

struct collection {
    struct taken *list;
    size_t count;
};

static void collect(struct collection *collection, const struct config_bind *binds, size_t binds_count,
                    const struct node *nodes) {
    for (size_t index = 0; index < binds_count; index++) {
        struct taken taken = taken_from(&binds[index].address);
        taken.bind = &binds[index];
        taken.node = node_item(nodes, index);
        taken.order = collection->count;
        bool any_port = taken.port == 0 && taken.family != AF_UNIX;
        if (binds[index].text != NULL && !any_port) {
            collection->list[collection->count++] = taken;
        }
    }
}

static struct collection collect_all(struct apply *apply, const struct node *tree) {
    const struct config *config = &apply->root->config;
    const struct node *listeners = node_child(tree, "listeners");
    size_t capacity = config->metrics.binds_count + config->admin.binds_count;
    for (size_t index = 0; index < config->listeners_count; index++) {
        capacity += config->listeners[index].binds_count;
    }
    struct collection all = {.list = arena_take(apply->findings->arena, capacity * sizeof(*all.list))};
    for (size_t index = 0; index < config->listeners_count; index++) {
        const struct config_listener *listener = &config->listeners[index];
        collect(&all, listener->binds, listener->binds_count, node_child(listeners->entries[index].value, "bind"));
    }
    collect(&all, config->metrics.binds, config->metrics.binds_count, node_child(node_child(tree, "metrics"), "bind"));
    collect(&all, config->admin.binds, config->admin.binds_count, node_child(node_child(tree, "admin"), "bind"));
    return all;
}

/* Reports the one that stands later in the file. */
static void report(struct apply *apply, const struct taken *a, const struct taken *b) {
    const struct taken *first = a->order < b->order ? a : b;
    const struct taken *second = a->order < b->order ? b : a;
    const char *second_text = findings_quote(apply->findings, second->bind->text);
    if (taken_is_same(a, b) && a->bind->dual_stack == b->bind->dual_stack) {
        findings_add(apply->findings, CODE_SAME_ADDRESS, second->node->span, NULL, "%s is bound twice", second_text);
    } else {
        findings_add(apply->findings, CODE_SAME_ADDRESS, second->node->span, NULL, "%s and %s overlap", second_text,
                     findings_quote(apply->findings, first->bind->text));
    }
    findings_note(apply->findings, first->node->span, "the other one");
}

/* Those of one port: `list` holds them sorted. */
static void report_port(struct apply *apply, const struct taken *list, size_t count) {
    const struct taken *covers[2] = {NULL, NULL}; /* the wildcards of IPv4 and IPv6 */
    for (size_t index = 0; index < count; index++) {
        const struct taken *taken = &list[index];
        const struct taken **cover = &covers[taken->family == AF_INET6];
        if (taken->any && *cover == NULL) {
            *cover = taken;
        }
    }
    for (size_t index = 0; index < count; index++) {
        const struct taken *taken = &list[index];
        if (index > 0 && taken_is_same(taken, taken - 1)) {
            report(apply, taken, taken - 1);
            continue;
        }
        for (size_t number = 0; number < 2; number++) {
            const struct taken *cover = covers[number];
            if (cover != NULL && cover != taken && taken_covers(cover, taken)) {
                report(apply, taken, cover);
                break;
            }
        }
    }
}

void overlap_report(struct apply *apply, const struct node *tree) {
    const struct collection all = collect_all(apply, tree);
    const struct taken *list = all.list;
    if (all.count > 0) {
        qsort(all.list, all.count, sizeof(list[0]), taken_compare);
    }
    for (size_t start = 0; start < all.count;) {
        size_t end = start + 1;
        while (end < all.count && list[end].port == list[start].port) {
            end++;
        }
        report_port(apply, list + start, end - start);
        start = end;
    }
}

/* ---- a listener that connects to itself ---- */

static bool taken_is_local(const struct taken *taken) {
    static const unsigned char loopback_v6[16] = {[15] = 1};
    if (taken->family == AF_INET) {
        return taken->any || taken->name[0] == 127;
    }
    return taken->any || memcmp(taken->name, loopback_v6, sizeof(loopback_v6)) == 0;
}

bool overlap_is_own(const struct config_bind *bind, const struct config_server *server) {
    uint16_t port = server->host != NULL ? server->port : address_port(&server->address);
    if (address_family(&bind->address) == AF_UNSPEC || address_port(&bind->address) != port) {
        return false;
    }
    struct taken own = taken_from(&bind->address);
    own.bind = bind;
    if (server->host != NULL) {
        return strcmp(server->host, "localhost") == 0 && own.family != AF_UNIX && taken_is_local(&own);
    }
    struct taken to = taken_from(&server->address);
    if (taken_is_same(&own, &to)) {
        return true;
    }
    return to.family != AF_UNIX && taken_is_local(&to) && taken_covers(&own, &to);
}

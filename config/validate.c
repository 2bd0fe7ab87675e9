#include "config/validate.h"

#include "config/overlap.h"
#include "config/resolve.h"

#include <stdlib.h>
#include <string.h>

static void check_listeners_exist(struct apply *apply, const struct node *tree) {
    const struct node_entry *listeners = node_entry(tree, "listeners");
    bool none = listeners == NULL || (listeners->value->kind == NODE_MAP && listeners->value->entries_count == 0);
    if (tree->kind == NODE_MAP && none) {
        struct span span = listeners != NULL ? listeners->key->span : (struct span){.source = NULL};
        findings_add(apply->findings, CODE_NO_LISTENERS, span,
                     "add: listeners: {web: {bind: \":8080\", upstream: NAME}}", "there is no listener");
    }
}

/* ---- names that must differ ---- */

struct named {
    const char *name;
    size_t index; /* of its node */
};

static int named_compare(const void *left, const void *right) {
    const struct named *a = left;
    const struct named *b = right;
    int order = strcmp(a->name, b->name);
    return order != 0 ? order : a->index < b->index ? -1 : 1;
}

/* Sorts the list. `owner` is like `upstream "x" has two servers`. */
static void check_names(struct apply *apply, enum code code, const char *owner, const struct node *nodes,
                        struct named *list, size_t count) {
    qsort(list, count, sizeof(list[0]), named_compare);
    for (size_t index = 1; index < count; index++) {
        if (strcmp(list[index].name, list[index - 1].name) == 0) {
            findings_add(apply->findings, code, node_item(nodes, list[index].index)->span,
                         "give it a \"name\" of its own, or remove it", "%s %s", owner,
                         findings_quote(apply->findings, list[index].name));
            findings_note(apply->findings, node_item(nodes, list[index - 1].index)->span, "the other one");
        }
    }
}

/* ---- listeners ---- */

/* A file of a unix socket has permissions and an owner; other addresses have no file. */
static void check_bind_is_file(struct apply *apply, const struct config_bind *bind, const struct node *node) {
    static const char *const keys[] = {"mode", "group"};
    bool is_file = address_is_unix(&bind->address) && bind->address.local.sun_path[0] != 0;
    for (size_t index = 0; index < 2 && bind->text != NULL && !is_file; index++) {
        const struct node_entry *entry = node_entry(node, keys[index]);
        if (entry != NULL) {
            findings_add(apply->findings, CODE_UNIX_ONLY, entry->key->span, "only \"unix:/path\" has one",
                         "%s has no %s", findings_quote(apply->findings, bind->text), keys[index]);
        }
    }
}

/* Where the address of a server of the listener's upstream is written. */
static const struct node *server_node(const struct node *tree, const struct node *listener, size_t upstream,
                                      size_t server) {
    const struct node *upstreams = node_child(tree, "upstreams");
    if (upstreams == NULL || upstream >= upstreams->entries_count) {
        return node_child(listener, "upstream"); /* the address itself */
    }
    const struct node *item = node_item(node_child(upstreams->entries[upstream].value, "servers"), server);
    const struct node *address = node_child(item, "address");
    return address != NULL ? address : item;
}

static void check_not_own(struct apply *apply, const struct node *tree, const struct config_listener *listener,
                          const struct node *node, const struct config_bind *bind, const struct node *bind_node) {
    const struct config_upstream *upstream = &apply->root->config.upstreams[listener->upstream];
    for (size_t index = 0; index < upstream->servers_count; index++) {
        const struct config_server *server = &upstream->servers[index];
        if (server->address_text != NULL && overlap_is_own(bind, server)) {
            findings_add(apply->findings, CODE_OWN_ADDRESS, server_node(tree, node, listener->upstream, index)->span,
                         NULL, "%s is listener %s itself: it would connect to itself",
                         findings_quote(apply->findings, server->address_text),
                         findings_quote(apply->findings, listener->name));
            findings_note(apply->findings, bind_node->span, "it listens here");
        }
    }
}

static void check_filter_names(struct apply *apply, const struct config_listener *listener,
                               const struct node *filters) {
    struct named *list = arena_take(apply->findings->arena, listener->filters_count * sizeof(list[0]));
    size_t count = 0;
    for (size_t index = 0; index < listener->filters_count; index++) {
        if (listener->filters[index].name != NULL) {
            list[count++] = (struct named){listener->filters[index].name, index};
        }
    }
    const char *owner = arena_printf(apply->findings->arena, "listener %s has two filters",
                                     findings_quote(apply->findings, listener->name));
    check_names(apply, CODE_SAME_FILTER, owner, filters, list, count);
}

static bool listener_is_unix(const struct config_listener *listener) {
    bool is_unix = true;
    for (size_t index = 0; index < listener->binds_count; index++) {
        const struct config_bind *bind = &listener->binds[index];
        is_unix = is_unix && address_is_unix(&bind->address) && bind->socket == NULL; /* (whose address is not known) */
    }
    return is_unix;
}

/* Whoever is trusted can be anybody. */
static void check_trusted(struct apply *apply, const struct config_listener *listener, const struct node_entry *entry) {
    const struct config_proxy_protocol *proxy_protocol = &listener->proxy_protocol;
    const char *name = findings_quote(apply->findings, listener->name);
    if (!proxy_protocol->wanted) {
        return;
    }
    const struct node *trusted = node_child(entry->value, "trusted");
    if (trusted == NULL && !listener_is_unix(listener)) {
        findings_add(apply->findings, CODE_TRUSTS_NOBODY, entry->key->span,
                     "add \"trusted\": the addresses of the proxies, like [10.0.0.0/8]",
                     "proxy_protocol of listener %s has no \"trusted\"", name);
    }
    for (size_t index = 0; index < proxy_protocol->trusted_count; index++) {
        const char *text = proxy_protocol->trusted[index];
        const char *prefix = text == NULL ? NULL : strchr(text, '/');
        if (prefix != NULL && strcmp(prefix, "/0") == 0) {
            findings_add(apply->findings, CODE_TRUSTS_ANYBODY, node_item(trusted, index)->span, NULL,
                         "whoever reaches listener %s can say that somebody else is the client", name);
        }
    }
}

static bool limit_is_set(const struct node *section, const char *key) {
    const struct node *value = node_child(section, key);
    return value != NULL && !(value->kind == NODE_SCALAR && strcmp(value->text, "off") == 0);
}

/* What is written there should have an effect. */
static void check_source_limits(struct apply *apply, const struct config_listener *listener, const struct node *node) {
    const struct node_entry *entry = node_entry(node_child(node, "limits"), "per_source");
    if (entry == NULL || entry->value->kind != NODE_MAP) {
        return;
    }
    const struct node_entry *burst = node_entry(entry->value, "burst");
    bool has_rate = limit_is_set(entry->value, "rate");
    if (!limit_is_set(entry->value, "max_connections") && !has_rate) {
        findings_add(apply->findings, CODE_NO_LIMIT, entry->key->span, "give it max_connections or a rate",
                     "per_source of listener %s limits nothing", findings_quote(apply->findings, listener->name));
    } else if (burst != NULL && !has_rate) {
        findings_add(apply->findings, CODE_NO_LIMIT, burst->key->span, "add \"rate\": 50/s, say",
                     "burst of listener %s has no rate", findings_quote(apply->findings, listener->name));
    }
}

static void check_listener(struct apply *apply, const struct node *tree, const struct config_listener *listener,
                           const struct node *node) {
    const struct node *binds = node_child(node, "bind");
    for (size_t index = 0; index < listener->binds_count; index++) {
        const struct config_bind *bind = &listener->binds[index];
        check_bind_is_file(apply, bind, node_item(binds, index));
        if (listener->upstream != CONFIG_NO_UPSTREAM) {
            check_not_own(apply, tree, listener, node, bind, node_item(binds, index));
        }
    }
    check_filter_names(apply, listener, node_child(node, "filters"));
    check_trusted(apply, listener, node_entry(node, "proxy_protocol"));
    check_source_limits(apply, listener, node);
}

/* ---- upstreams ---- */

static void check_server_names(struct apply *apply, const struct config_upstream *upstream,
                               const struct node *servers) {
    struct named *list = arena_take(apply->findings->arena, upstream->servers_count * sizeof(list[0]));
    size_t count = 0;
    for (size_t index = 0; index < upstream->servers_count; index++) {
        if (upstream->servers[index].name != NULL) {
            list[count++] = (struct named){upstream->servers[index].name, index};
        }
    }
    const char *owner = arena_printf(apply->findings->arena, "upstream %s has two servers",
                                     findings_quote(apply->findings, upstream->name));
    check_names(apply, CODE_SAME_SERVER, owner, servers, list, count);
}

static void check_upstream(struct apply *apply, const struct config_upstream *upstream,
                           const struct node_entry *entry) {
    size_t backups = 0;
    for (size_t index = 0; index < upstream->servers_count; index++) {
        backups += upstream->servers[index].backup;
    }
    if (backups > 0 && backups == upstream->servers_count) {
        findings_add(apply->findings, CODE_ALL_BACKUP, entry->key->span, "at least one must not be a backup",
                     "every server of upstream %s is a backup", findings_quote(apply->findings, upstream->name));
    }
    check_server_names(apply, upstream, node_child(entry->value, "servers"));
}

/* ---- the rest ---- */

static void check_sqpoll(struct apply *apply, const struct node *tree) {
    const struct config_io *io = &apply->root->config.io;
    if (io->sqpoll_cpu >= 0 && !io->sqpoll) {
        findings_add(apply->findings, CODE_WITHOUT_SQPOLL, node_child(node_child(tree, "io"), "sqpoll_cpu")->span, NULL,
                     "sqpoll_cpu has no effect without \"sqpoll: true\"");
    }
}

/* Its rights are those of a file. */
static void check_admin(struct apply *apply, const struct node *tree) {
    const struct config_admin *admin = &apply->root->config.admin;
    const struct node *binds = node_child(node_child(tree, "admin"), "bind");
    for (size_t index = 0; index < admin->binds_count; index++) {
        const struct config_bind *bind = &admin->binds[index];
        bool is_file = address_is_unix(&bind->address) && bind->address.local.sun_path[0] != 0;
        if (bind->text != NULL && (!is_file || index > 0)) {
            findings_add(apply->findings, CODE_ADDRESS, node_item(binds, index)->span,
                         "write it as \"unix:/run/moonring/admin.sock\"", "admin.bind is one unix path, not %s%s",
                         index > 0 ? "also " : "", findings_quote(apply->findings, bind->text));
        }
    }
}

/* Prometheus scrapes over TCP only. */
static void check_metrics(struct apply *apply, const struct node *tree) {
    const struct config_metrics *metrics = &apply->root->config.metrics;
    const struct node *binds = node_child(node_child(tree, "metrics"), "bind");
    for (size_t index = 0; index < metrics->binds_count; index++) {
        const struct config_bind *bind = &metrics->binds[index];
        if (bind->text != NULL && (address_is_unix(&bind->address) || index > 0)) {
            findings_add(apply->findings, CODE_ADDRESS, node_item(binds, index)->span, "write it as \"127.0.0.1:9102\"",
                         "metrics.bind is one IP address with a port, not %s%s", index > 0 ? "also " : "",
                         findings_quote(apply->findings, bind->text));
        }
    }
}

void validate_tree(struct apply *apply, const struct node *tree) {
    const struct node *listeners = node_child(tree, "listeners");
    const struct node *upstreams = node_child(tree, "upstreams");
    const struct config *config = &apply->root->config;
    size_t upstreams_written = config->upstreams_count;
    check_listeners_exist(apply, tree);
    resolve_upstreams(apply, tree);
    overlap_report(apply, tree);
    for (size_t index = 0; index < config->listeners_count; index++) {
        check_listener(apply, tree, &config->listeners[index], listeners->entries[index].value);
    }
    for (size_t index = 0; index < upstreams_written; index++) {
        check_upstream(apply, &config->upstreams[index], &upstreams->entries[index]);
    }
    check_sqpoll(apply, tree);
    check_admin(apply, tree);
    check_metrics(apply, tree);
}

#include "program/standing_orders.h"

#include <stdlib.h>
#include <string.h>

void standing_orders_init(struct standing_orders *orders) {
    *orders = (struct standing_orders){.items = NULL};
}

static void order_finish(struct standing_order *order) {
    free(order->upstream);
    free(order->server);
    free(order->address);
}

void standing_orders_finish(struct standing_orders *orders) {
    for (size_t i = 0; i < orders->count; i++) {
        order_finish(&orders->items[i]);
    }
    free(orders->items);
}

/* --- finding ---------------------------------------------------------------------------------------------------- */

static int compare_server(const struct standing_order *order, const struct standing_place *place) {
    int result = strcmp(order->upstream, place->upstream->name);
    size_t size = server_configured_size(place->server);
    result = result != 0 ? result : strncmp(order->server, place->server->name, size);
    return result != 0 ? result : order->server[size] != 0;
}

static int compare(const struct standing_order *order, const struct standing_place *place) {
    int result = compare_server(order, place);
    return result != 0 ? result : strcmp(order->address, place->is_one ? place->server->address_text : "");
}

/* Where it is, or would be. */
static size_t orders_search(const struct standing_orders *orders, const struct standing_place *place) {
    size_t begin = 0;
    size_t end = orders->count;
    while (begin < end) {
        size_t middle = begin + (end - begin) / 2;
        if (compare(&orders->items[middle], place) < 0) {
            begin = middle + 1;
        } else {
            end = middle;
        }
    }
    return begin;
}

static struct standing_order *orders_get(const struct standing_orders *orders, const struct standing_place *place) {
    size_t at = orders_search(orders, place);
    return at < orders->count && compare(&orders->items[at], place) == 0 ? &orders->items[at] : NULL;
}

const struct standing_order *standing_orders_find(struct standing_orders *orders, const struct standing_place *place) {
    struct standing_place all = *place;
    struct standing_place one = *place;
    all.is_one = false;
    one.is_one = true;
    struct standing_order *of_all = orders_get(orders, &all);
    struct standing_order *of_one = orders_get(orders, &one);
    if (of_all != NULL) {
        of_all->generation = place->generation;
    }
    if (of_one != NULL) {
        of_one->generation = place->generation;
    }
    return of_one != NULL ? of_one : of_all;
}

/* --- changing --------------------------------------------------------------------------------------------------- */

static bool orders_reserve(struct standing_orders *orders) {
    if (orders->count < orders->capacity || orders->count == STANDING_ORDERS_MAX) {
        return orders->count < STANDING_ORDERS_MAX;
    }
    size_t capacity = orders->capacity * 2 + 16;
    struct standing_order *items = realloc(orders->items, capacity * sizeof *items);
    if (items == NULL) {
        return false;
    }
    orders->items = items;
    orders->capacity = capacity;
    return true;
}

static struct standing_order *orders_add(struct standing_orders *orders, const struct standing_place *place) {
    const struct server *server = place->server;
    struct standing_order order = {.upstream = strdup(place->upstream->name),
                                   .server = strndup(server->name, server_configured_size(server)),
                                   .address = strdup(place->is_one ? server->address_text : "")};
    if (order.upstream == NULL || order.server == NULL || order.address == NULL || !orders_reserve(orders)) {
        order_finish(&order);
        return NULL;
    }
    size_t at = orders_search(orders, place);
    memmove(&orders->items[at + 1], &orders->items[at], (orders->count - at) * sizeof order);
    orders->items[at] = order;
    orders->count++;
    return &orders->items[at];
}

static void orders_remove(struct standing_orders *orders, size_t at) {
    order_finish(&orders->items[at]);
    orders->count--;
    memmove(&orders->items[at], &orders->items[at + 1], (orders->count - at) * sizeof orders->items[at]);
}

/* Those that say nothing that would not hold without them; all of one server, of which the first may be the rule for
 * the others. */
static void orders_prune(struct standing_orders *orders, size_t begin, size_t end) {
    static const uint32_t nothing[STANDING_KINDS] = {0};
    bool has_rule = begin < end && orders->items[begin].address[0] == 0;
    for (size_t i = end; i > begin; i--) {
        const uint32_t *otherwise = has_rule && i - 1 > begin ? orders->items[begin].wanted : nothing;
        if (memcmp(orders->items[i - 1].wanted, otherwise, sizeof nothing) == 0) {
            orders_remove(orders, i - 1);
        }
    }
}

/* Makes it when there is none; an exception begins like the rule. */
static struct standing_order *orders_obtain(struct standing_orders *orders, const struct standing_place *place) {
    const struct standing_order *before = standing_orders_find(orders, place);
    struct standing_order *order = orders_get(orders, place);
    uint32_t wanted[STANDING_KINDS] = {0};
    if (order != NULL) {
        return order;
    }
    if (place->is_one && before != NULL) {
        memcpy(wanted, before->wanted, sizeof wanted);
    }
    order = orders_add(orders, place);
    if (order != NULL) {
        memcpy(order->wanted, wanted, sizeof wanted);
    }
    return order;
}

bool standing_orders_note(struct standing_orders *orders, const struct standing_place *place, enum standing_kind kind,
                          uint32_t value) {
    bool is_nothing = value == 0 && standing_orders_find(orders, place) == NULL;
    struct standing_order *order = is_nothing ? NULL : orders_obtain(orders, place);
    if (order == NULL && !is_nothing) {
        return false;
    }
    if (order != NULL) {
        order->generation = place->generation;
        order->wanted[kind] = value;
    }
    const struct standing_place all = {.upstream = place->upstream, .server = place->server};
    size_t begin = orders_search(orders, &all);
    size_t end = begin;
    for (; end < orders->count && compare_server(&orders->items[end], place) == 0; end++) {
        orders->items[end].wanted[kind] = place->is_one ? orders->items[end].wanted[kind] : value;
    }
    orders_prune(orders, begin, end);
    return true;
}

/* --- those who are not there ------------------------------------------------------------------------------------- */

/* What follows the prefix; NULL: the text does not begin with it, or there is no text. */
static const char *behind(const char *text, const char *prefix) {
    size_t size = strlen(prefix);
    return text != NULL && strncmp(text, prefix, size) == 0 ? text + size : NULL;
}

static bool order_is_named(const struct standing_order *order, const char *name) {
    const char *rest = behind(behind(behind(name, order->upstream), "/"), order->server);
    if (order->address[0] != 0) {
        rest = behind(behind(rest, "/"), order->address);
    }
    return rest != NULL && *rest == 0;
}

static bool is_about_same(const struct standing_order *one, const struct standing_order *other) {
    return strcmp(one->upstream, other->upstream) == 0 && strcmp(one->server, other->server) == 0;
}

bool standing_orders_forget(struct standing_orders *orders, const char *name, enum standing_kind kind,
                            uint64_t generation) {
    struct standing_order *items = orders->items;
    for (size_t i = 0; i < orders->count; i++) {
        if (items[i].generation == generation || items[i].wanted[kind] == 0 || !order_is_named(&items[i], name)) {
            continue;
        }
        size_t begin = i;
        size_t end = i + 1;
        while (begin > 0 && is_about_same(&items[begin - 1], &items[i])) {
            begin--;
        }
        while (end < orders->count && is_about_same(&items[end], &items[i])) {
            end++;
        }
        items[i].wanted[kind] = 0;
        orders_prune(orders, begin, end);
        return true;
    }
    return false;
}

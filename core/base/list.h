/* An intrusive, circular, doubly linked list. A link that is in no list points at itself. */
#ifndef MOONRING_BASE_LIST_H
#define MOONRING_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct link {
    struct link *next;
    struct link *previous;
};

struct list {
    struct link head;
};

/* The object of `type` whose `member` lies at `pointer`. */
#define container_of(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static inline void link_init(struct link *link) {
    link->next = link;
    link->previous = link;
}

static inline bool link_is_in_list(const struct link *link) {
    return link->next != link;
}

/* Taking a link out twice is harmless. */
static inline void link_remove(struct link *link) {
    link->previous->next = link->next;
    link->next->previous = link->previous;
    link_init(link);
}

static inline void list_init(struct list *list) {
    link_init(&list->head);
}

static inline bool list_is_empty(const struct list *list) {
    return !link_is_in_list(&list->head);
}

/* The link must be in no list. */
static inline void list_append(struct list *list, struct link *link) {
    link->previous = list->head.previous;
    link->next = &list->head;
    list->head.previous->next = link;
    list->head.previous = link;
}

/* The link must be in no list. */
static inline void list_prepend(struct list *list, struct link *link) {
    link->previous = &list->head;
    link->next = list->head.next;
    list->head.next->previous = link;
    list->head.next = link;
}

/* The first link, or NULL. */
static inline struct link *list_first(struct list *list) {
    return list_is_empty(list) ? NULL : list->head.next;
}

/* The first link, taken out, or NULL. */
static inline struct link *list_pop(struct list *list) {
    struct link *link = list_first(list);
    if (link != NULL) {
        link_remove(link);
    }
    return link;
}

/* The loop's body may remove `link` itself, nothing else. */
#define list_for_each(link, list)                                                                                      \
    for (struct link *link = (list)->head.next, *link##_next = link->next; link != &(list)->head;                      \
         link = link##_next, link##_next = link->next)

#endif

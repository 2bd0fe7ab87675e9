#include "lua/usage.h"

#include "base/check.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct usage {
    struct usage *next;
    struct usage_cells *cells; /* ours */
    char *listener;            /* ours, as are these */
    char *filter;
    char *script;
    struct failures failures;
};

/* The lock is for the lists; what the cells count needs none. */
static struct {
    pthread_mutex_t lock;
    struct usage *first;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* --- life --------------------------------------------------------------------------------------------------------- */

static void usage_destroy(struct usage *usage) {
    failures_finish(&usage->failures);
    free(usage->listener);
    free(usage->filter);
    free(usage->script);
    free(usage);
}

static struct usage *usage_create(const char *listener, const char *filter, const char *script) {
    struct usage *usage = malloc(sizeof(*usage));
    if (usage == NULL) {
        return NULL;
    }
    *usage = (struct usage){.listener = strdup(listener), .filter = strdup(filter), .script = strdup(script)};
    failures_init(&usage->failures);
    if (usage->listener == NULL || usage->filter == NULL || usage->script == NULL) {
        usage_destroy(usage);
        return NULL;
    }
    return usage;
}

/* Registers it, at the end, if it is not there. NULL: not enough memory. */
static struct usage *usage_find(const char *listener, const char *filter, const char *script) {
    struct usage **at = &registry.first;
    while (*at != NULL && (strcmp((*at)->listener, listener) != 0 || strcmp((*at)->filter, filter) != 0 ||
                           strcmp((*at)->script, script) != 0)) {
        at = &(*at)->next;
    }
    if (*at == NULL) {
        *at = usage_create(listener, filter, script);
    }
    return *at;
}

/* Nobody is left who counts: its filter is not configured any more. */
static void usage_forget(struct usage *usage) {
    struct usage **at = &registry.first;
    while (*at != usage) {
        at = &(*at)->next;
    }
    *at = usage->next;
    while (usage->cells != NULL) {
        struct usage_cells *cells = usage->cells;
        usage->cells = cells->next;
        free(cells);
    }
    usage_destroy(usage);
}

static bool usage_is_used(const struct usage *usage) {
    uint32_t users = 0;
    for (const struct usage_cells *cells = usage->cells; cells != NULL; cells = cells->next) {
        users += cells->users;
    }
    return users > 0;
}

static struct usage_cells *usage_find_cells(struct usage *usage, uint32_t worker) {
    struct usage_cells *cells = usage->cells;
    while (cells != NULL && cells->worker != worker) {
        cells = cells->next;
    }
    if (cells == NULL) {
        cells = calloc(1, sizeof(*cells));
    }
    if (cells != NULL && cells->usage == NULL) {
        cells->usage = usage;
        cells->worker = worker;
        cells->unmeasured = USAGE_SAMPLING / 2;
        cells->next = usage->cells;
        usage->cells = cells;
    }
    return cells;
}

struct usage_cells *usage_take(const char *listener, const char *filter, const char *script, uint32_t worker) {
    pthread_mutex_lock(&registry.lock);
    struct usage *usage = usage_find(listener, filter, script);
    struct usage_cells *cells = usage != NULL ? usage_find_cells(usage, worker) : NULL;
    if (cells != NULL) {
        cells->users++;
    } else if (usage != NULL && !usage_is_used(usage)) {
        usage_forget(usage);
    }
    pthread_mutex_unlock(&registry.lock);
    return cells;
}

void usage_give(struct usage_cells *cells) {
    if (cells == NULL) {
        return;
    }
    pthread_mutex_lock(&registry.lock);
    check(cells->users > 0);
    cells->users--;
    if (!usage_is_used(cells->usage)) {
        usage_forget(cells->usage);
    }
    pthread_mutex_unlock(&registry.lock);
}

/* --- counting ----------------------------------------------------------------------------------------------------- */

static atomic_uint_fast64_t *cell_of(struct usage_cells *cells, enum failure failure) {
    switch (failure) {
    case FAILURE_ERROR:
        return &cells->errors;
    case FAILURE_BUDGET:
    case FAILURE_MEMORY:
        return &cells->over;
    case FAILURE_KILL:
        return &cells->kills;
    case FAILURE_HOLD:
    case FAILURES:
        break;
    }
    return &cells->holds;
}

void usage_count_failure(struct usage_cells *cells, enum failure failure, const char *place, uint64_t now_us) {
    usage_add(cell_of(cells, failure), 1);
    failures_count(&cells->usage->failures, failure, place, now_us);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static void usage_add_up(struct usage_facts *facts, const struct usage_cells *cells) {
    for (int hook = 0; hook <= HOOKS; hook++) {
        facts->entered[hook] += usage_read(&cells->entered[hook]);
    }
    facts->errors += usage_read(&cells->errors);
    facts->over += usage_read(&cells->over);
    facts->kills += usage_read(&cells->kills);
    facts->holds += usage_read(&cells->holds);
    facts->busy_ns += usage_read(&cells->busy_ns);
    if (cells->users > 0) {
        facts->memory += usage_read(&cells->memory);
        facts->workers++;
        facts->workers_off += atomic_load_explicit(&cells->off, memory_order_relaxed);
    }
}

void usages_visit(usage_visit_fn *visit, void *argument) {
    pthread_mutex_lock(&registry.lock);
    for (struct usage *usage = registry.first; usage != NULL; usage = usage->next) {
        struct usage_facts facts = {.listener = usage->listener,
                                    .filter = usage->filter,
                                    .script = usage->script,
                                    .failures = &usage->failures};
        for (const struct usage_cells *cells = usage->cells; cells != NULL; cells = cells->next) {
            usage_add_up(&facts, cells);
        }
        visit(argument, &facts);
    }
    pthread_mutex_unlock(&registry.lock);
}

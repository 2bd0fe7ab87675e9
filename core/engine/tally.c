#include "engine/tally.h"

#include <stdlib.h>

#define MS UINT64_C(1000)
#define SECOND (1000 * MS)

const struct tally_bounds tally_connects = {
    {500, MS, 2 * MS, 5 * MS, 10 * MS, 25 * MS, 50 * MS, 100 * MS, 250 * MS, SECOND, 3 * SECOND, 10 * SECOND},
    {"0.0005", "0.001", "0.002", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "1", "3", "10", "+Inf"}};

const struct tally_bounds tally_durations = {
    {MS, 10 * MS, 100 * MS, 500 * MS, SECOND, 5 * SECOND, 30 * SECOND, 60 * SECOND, 300 * SECOND, 1800 * SECOND,
     3600 * SECOND, 21600 * SECOND},
    {"0.001", "0.01", "0.1", "0.5", "1", "5", "30", "60", "300", "1800", "3600", "21600", "+Inf"}};

struct tally *tally_create(void) {
    struct tally *tally = calloc(1, sizeof *tally);
    return tally == NULL ? NULL : tally_hold(tally);
}

struct tally *tally_hold(struct tally *tally) {
    tally->references++;
    return tally;
}

static struct tally_cells *first_cells(const struct tally *tally) {
    return atomic_load_explicit(&tally->newest, memory_order_acquire);
}

void tally_drop(struct tally *tally) {
    if (tally == NULL || --tally->references > 0) {
        return;
    }
    for (struct tally_cells *cells = first_cells(tally), *next; cells != NULL; cells = next) {
        next = cells->next;
        free(cells);
    }
    free(tally);
}

struct tally_cells *tally_cells(struct tally *tally, uint32_t worker) {
    for (struct tally_cells *cells = first_cells(tally); cells != NULL; cells = cells->next) {
        if (cells->worker == worker) {
            return cells;
        }
    }
    struct tally_cells *cells = calloc(1, sizeof *cells);
    if (cells != NULL) {
        cells->worker = worker;
        cells->next = first_cells(tally);
        atomic_store_explicit(&tally->newest, cells, memory_order_release);
    }
    return cells;
}

void tally_time(struct tally_cells *cells, const struct tally_bounds *bounds, uint64_t took_us) {
    size_t index = 0;
    if (cells == NULL) {
        return;
    }
    while (index < TALLY_BOUNDS && took_us > bounds->us[index]) {
        index++;
    }
    counter_add(&cells->times[index], 1);
    counter_add(&cells->times_sum_us, took_us);
}

void tally_bytes(struct tally_cells *cells, uint64_t from_client, uint64_t from_server) {
    if (cells != NULL) {
        counter_add(&cells->from_client_bytes, from_client);
        counter_add(&cells->from_server_bytes, from_server);
    }
}

void tally_closed(struct tally_cells *cells, enum close_reason reason) {
    if (cells != NULL) {
        counter_add(&cells->closed[reason], 1);
    }
}

static void cells_merge(struct tally_cells *into, const struct tally_cells *from) {
    for (size_t i = 0; i <= TALLY_BOUNDS; i++) {
        counter_add(&into->times[i], counter_read(&from->times[i]));
    }
    for (size_t reason = 0; reason < CLOSE_REASONS; reason++) {
        counter_add(&into->closed[reason], counter_read(&from->closed[reason]));
    }
    counter_add(&into->times_sum_us, counter_read(&from->times_sum_us));
    counter_add(&into->from_client_bytes, counter_read(&from->from_client_bytes));
    counter_add(&into->from_server_bytes, counter_read(&from->from_server_bytes));
}

void tally_sum(const struct tally *tally, struct tally_cells *sum) {
    for (const struct tally_cells *cells = first_cells(tally); cells != NULL; cells = cells->next) {
        cells_merge(sum, cells);
    }
}

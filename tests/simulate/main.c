/* simulate: runs seeds and says what they did. Stops at the first that finds something wrong. */
#include "base/log.h"
#include "base/units.h"
#include "hook_cost.h"
#include "simulation.h"
#include "work.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct arguments {
    uint64_t seed;
    uint64_t seeds;
    uint64_t sessions;
    bool trace;
    enum scene_filters filters;
    uint64_t hook_cost; /* chunks; 0: it is not asked for */
    uint64_t work;      /* pieces of each kind; 0: the same */
};

static void usage(FILE *stream) {
    fputs("usage: simulate [--seed N] [--seeds COUNT] [--sessions OF_EACH_SEED] [--filters never|always] [--trace]\n"
          "Runs moonring's engine in a simulated world, from seed N (default 1) on, COUNT seeds (default 1) of\n"
          "OF_EACH_SEED sessions (default 100), and checks what it does. Some seeds have filters. --trace prints\n"
          "what happens.\n\n"
          "   or: simulate --hook-cost CHUNKS\n"
          "Measures what a filter with an empty byte hook adds to relaying a chunk.\n\n"
          "   or: simulate --work TIMES\n"
          "Counts what pieces of work ask of the kernel.\n",
          stream);
}

static uint64_t number_of(const char *option, const char *text) {
    struct error error;
    uint64_t value = 0;
    if (!units_parse_integer(text, 1, UINT64_MAX / 2, &value, &error)) {
        fprintf(stderr, "simulate: --%s: %s\n", option, error.text);
        exit(2);
    }
    return value;
}

static const char *const filters_names[] = {
    [FILTERS_SOMETIMES] = "sometimes", [FILTERS_NEVER] = "never", [FILTERS_ALWAYS] = "always"};

static enum scene_filters filters_of(const char *text) {
    for (int filters = 0; filters <= FILTERS_ALWAYS; filters++) {
        if (strcmp(text, filters_names[filters]) == 0) {
            return (enum scene_filters)filters;
        }
    }
    fprintf(stderr, "simulate: --filters: `%s` is none of never, sometimes, always\n", text);
    exit(2);
}

static struct arguments arguments_parse(int count, char **values) {
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"seeds", required_argument, NULL, 'c'},
                                            {"sessions", required_argument, NULL, 'n'},
                                            {"filters", required_argument, NULL, 'f'},
                                            {"trace", no_argument, NULL, 't'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"hook-cost", required_argument, NULL, 'k'},
                                            {"work", required_argument, NULL, 'w'},
                                            {NULL, 0, NULL, 0}};
    struct arguments arguments = {.seed = 1, .seeds = 1, .sessions = 100};
    for (int option = 0; (option = getopt_long(count, values, "", options, NULL)) != -1;) {
        switch (option) {
        case 's':
            arguments.seed = number_of("seed", optarg);
            break;
        case 'c':
            arguments.seeds = number_of("seeds", optarg);
            break;
        case 'n':
            arguments.sessions = number_of("sessions", optarg);
            break;
        case 'f':
            arguments.filters = filters_of(optarg);
            break;
        case 'k':
            arguments.hook_cost = number_of("hook-cost", optarg);
            break;
        case 'w':
            arguments.work = number_of("work", optarg);
            break;
        case 't':
            arguments.trace = true;
            break;
        case 'h':
            usage(stdout);
            exit(0);
        default:
            usage(stderr);
            exit(2);
        }
    }
    return arguments;
}

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void print_totals(const struct arguments *arguments, const struct simulation_totals *totals, double seconds) {
    printf("seeds %lu to %lu: %lu clients, %lu sessions (%lu seen from both ends), %lu bytes, %lu requests\n",
           (unsigned long)arguments->seed, (unsigned long)(arguments->seed + arguments->seeds - 1),
           (unsigned long)totals->clients, (unsigned long)totals->sessions, (unsigned long)totals->paired,
           (unsigned long)totals->bytes, (unsigned long)totals->requests);
    for (int i = 0; i < CLOSE_REASONS; i++) {
        printf("%s%s %lu", i == 0 ? "" : ", ", close_reason_name((enum close_reason)i),
               (unsigned long)totals->reasons[i]);
    }
    printf("\n%lu retries, %lu starved, %lu evacuations, %lu promotions to splice, %lu demotions\n",
           (unsigned long)totals->retries, (unsigned long)totals->starved, (unsigned long)totals->evacuations,
           (unsigned long)totals->promotions, (unsigned long)totals->demotions);
    printf("%lu sessions with filters, %lu of these bypassed; %lu segments, %lu waits, %lu entries rolled back; hooks:",
           (unsigned long)totals->filtered, (unsigned long)totals->troupe.bypassed,
           (unsigned long)totals->troupe.segments, (unsigned long)totals->troupe.waited,
           (unsigned long)totals->troupe.rolled_back);
    for (int hook = 0; hook < HOOKS; hook++) {
        printf(" %s %lu", hook_name((enum hook)hook), (unsigned long)totals->troupe.begun[hook]);
    }
    printf("\n%.1f s, %.0f clients a minute: nothing wrong was found\n", seconds,
           (double)totals->clients / seconds * 60);
}

static void print_hook_cost(uint64_t chunks, uint32_t chunk_size) {
    struct hook_cost cost = hook_cost_measure_empty(chunks, chunk_size);
    printf("%lu chunks of %u bytes: %.1f ns each without a filter, %.1f ns with an empty from_client (%lu hooks): "
           "%.1f ns more\n",
           (unsigned long)chunks, chunk_size, cost.plain_ns, cost.filtered_ns, (unsigned long)cost.hooks,
           cost.filtered_ns - cost.plain_ns);
}

static void print_work(uint64_t times) {
    for (enum work work = WORK_REQUEST; work < WORKS; work++) {
        struct work_cost cost = work_count(work, times);
        printf("%-9s %9.3f submissions %9.3f turns %9.3f other calls %9.3f bytes copied\n", work_name(work),
               cost.submissions, cost.turns, cost.calls, cost.copied_bytes);
    }
}

int main(int argc, char **argv) {
    struct arguments arguments = arguments_parse(argc, argv);
    if (arguments.hook_cost > 0) {
        print_hook_cost(arguments.hook_cost, 64);
        print_hook_cost(arguments.hook_cost / 10, 16 * 1024);
        return 0;
    }
    if (arguments.work > 0) {
        print_work(arguments.work);
        return 0;
    }
    struct simulation_totals totals = {.clients = 0};
    struct error error;
    double started = seconds_now();
    if (!arguments.trace) {
        log_open("/dev/null", &error); /* what moonring says about limits and errors is expected here */
    }
    simulation_explain_crashes();
    for (uint64_t seed = arguments.seed; seed < arguments.seed + arguments.seeds; seed++) {
        char again[160];
        snprintf(again, sizeof(again), "%s --seed %lu --sessions %lu --filters %s --trace", argv[0],
                 (unsigned long)seed, (unsigned long)arguments.sessions, filters_names[arguments.filters]);
        const struct simulation_options options = {.seed = seed,
                                                   .sessions = arguments.sessions,
                                                   .filters = arguments.filters,
                                                   .trace = arguments.trace ? stdout : NULL,
                                                   .again = again};
        simulation_run(&options, &totals);
    }
    print_totals(&arguments, &totals, seconds_now() - started);
    return 0;
}

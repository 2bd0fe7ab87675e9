/* What relaying costs, counted instead of timed: pieces of work in a world where everything happens at once. The counts
 * are the same on every machine, so a change that costs more shows at once (work_test.c, instructions.sh). */
#ifndef MOONRING_SIMULATE_WORK_H
#define MOONRING_SIMULATE_WORK_H

#include <stdint.h>

enum work {
    WORK_REQUEST,  /* 64 bytes there and 64 back */
    WORK_BATCH,    /* such a request on each of 64 connections at once */
    WORK_CHUNK,    /* 16 KiB in one direction */
    WORK_SPLICE,   /* 256 KiB in one direction, spliced */
    WORK_FILTERED, /* 64 bytes in one direction through a filter in C whose hook returns at once */
    WORK_SESSION,  /* from accept to release, with one request */
    WORKS,
};

/* Of one piece of work, on average. */
struct work_cost {
    double submissions;  /* requests to the ring */
    double turns;        /* io_uring_enter() */
    double calls;        /* other system calls */
    double copied_bytes; /* that were sent from elsewhere than where they were received */
};

const char *work_name(enum work work);
/* Does the piece so many times, after a few that are not counted. */
struct work_cost work_count(enum work work, uint64_t times);

struct workshop;
/* The counted part of work_count: a function of its own, so that callgrind can collect within it. */
__attribute__((noinline)) void work_do(struct workshop *workshop, enum work work, uint64_t times);

#endif

/* What this machine means for moonring: kernel, io_uring, limits and settings, each with what it is for and, where
 * something better exists, the command to type. */
#ifndef MOONRING_PROGRAM_DOCTOR_H
#define MOONRING_PROGRAM_DOCTOR_H

#include "engine/ring.h"

#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>

/* What is looked at. doctor_look fills in this machine; tests make up others. */
struct doctor_machine {
    const char *root;              /* stands in front of /proc and /sys; "" for the real ones */
    const char *disabled;          /* the value of MOONRING_DISABLE, NULL when it is not set */
    bool has_ring;                 /* a ring could be made */
    struct ring_features features; /* if has_ring */
    struct error ring_error;       /* if not */
    struct rlimit descriptors;     /* RLIMIT_NOFILE */
    struct rlimit locked;          /* RLIMIT_MEMLOCK, bytes */
    unsigned cpus_allowed;         /* by the affinity of this process */
    unsigned cpus_online;
};

void doctor_look(struct doctor_machine *machine);

/* Prints the findings. False when one of them keeps moonring from running. */
bool doctor_report(const struct doctor_machine *machine, FILE *out);

/* `moonring doctor`: looks and reports. */
bool doctor_run(FILE *out);

#endif

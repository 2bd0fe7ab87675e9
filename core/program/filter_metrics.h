/* What filters did and cost (lua/usage.h), for the page of metrics. */
#ifndef MOONRING_PROGRAM_FILTER_METRICS_H
#define MOONRING_PROGRAM_FILTER_METRICS_H

#include "program/exposition.h"

/* Any thread may call it; no worker is asked. */
void filter_metrics_write(struct exposition *page);

#endif

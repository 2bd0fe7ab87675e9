/* What conformance.c runs on: the kernel itself, or the fake. Which one is chosen when the tests are linked. */
#ifndef MOONRING_SIMULATE_CONFORMANCE_H
#define MOONRING_SIMULATE_CONFORMANCE_H

/* Before a ring is made. `disabled` names features of struct ring_features to do without, as MOONRING_DISABLE does. */
void conformance_begin(const char *disabled);
/* After everything was closed. */
void conformance_end(void);

#endif

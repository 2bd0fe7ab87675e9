/* Rules between keys: what no single value can get wrong. */
#ifndef MOONRING_CONFIG_VALIDATE_H
#define MOONRING_CONFIG_VALIDATE_H

#include "config/apply.h"

/* Reports what is wrong with the whole that apply_tree filled from the tree, and completes it. */
void validate_tree(struct apply *apply, const struct node *tree);

#endif

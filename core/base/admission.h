/* Who may come in, by IP address. Rules allow or deny blocks of addresses; of the rules whose blocks an address lies in
 * the one with the longest prefix decides, and deny decides where one block has both. However many rules there are,
 * what they say of all addresses is a row of stretches that are let in and kept out by turns. */
#ifndef MOONRING_BASE_ADMISSION_H
#define MOONRING_BASE_ADMISSION_H

#include "base/cidr.h"

#include <stdbool.h>
#include <stddef.h>

struct admission_rule {
    struct cidr cidr;
    bool allows;
};

struct admission {
    bool otherwise;              /* whether an address comes in that no rule is about */
    const struct cidr_ip *turns; /* sorted: at each the answer changes, from `otherwise` on */
    size_t turns_count;
};

/* Makes an admission of rules, which it sorts in place. turns: the caller's, with room for two of each rule; it must
 * outlive the admission. Takes n log n steps. */
void admission_init(struct admission *admission, bool otherwise, struct admission_rule *rules, size_t rules_count,
                    struct cidr_ip *turns);

/* Whether that address comes in, in log n steps. */
bool admission_allows(const struct admission *admission, const struct cidr_ip *ip);

/* Whether nobody at all comes in. */
bool admission_is_closed(const struct admission *admission);

#endif

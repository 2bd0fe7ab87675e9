/* lua/library/moonring.lua, which editors read, has the names that filters find, and no others; and lua/README.md has
 * an example of each. The comparison is done by a filter: library_names.lua. */
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Test(example_library, names_what_is_there, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    struct pair pair;
    char *script = realpath("tests/scenario/library_names.lua", NULL);
    cr_assert(script != NULL);
    peer_listen(&listener, "127.0.0.1:0");
    moonring_start(&moonring,
                   "listeners: {names: {bind: '127.0.0.1:0', upstream: '%s', filters: ['%s']}}\n"
                   "lua: {libs: full, budget: 5s}\n",
                   listener.address, script);
    free(script);
    peer_connect(&pair.client, moonring.address);
    pair_accept(&pair, &listener);
    peer_send(&pair.client, "a line\n");
    const char *line = process_wait_line(&moonring.process, &moonring.process.errors, "compared ");
    int names = 0, findings = 0;
    cr_assert(sscanf(strstr(line, "compared "), "compared %d names: %d findings", &names, &findings) == 2, "%s", line);
    cr_assert(findings == 0, "%s", process_last_words(&moonring.process));
    cr_assert(names > 130, "only %d names", names);
    pair_close(&pair);
    moonring_stop(&moonring);
}

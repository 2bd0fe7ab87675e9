/* examples/coming-from.md: every piece of YAML on the page is a whole configuration that `moonring check` finds fine.
 */
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static void check_piece(const struct temporary *folder, const char *piece) {
    char path[TEMPORARY_PATH_MAX];
    struct process process;
    temporary_write(folder, "piece.yaml", "%s", piece);
    temporary_path(folder, "piece.yaml", path);
    process_start(&process, NULL, ARGUMENTS(moonring_program(), "check", "-c", path));
    int code = process_wait(&process);
    cr_assert(code == 0 && strstr(process_text(&process.errors), "warning") == NULL, "%s\n%s",
              process_last_words(&process), piece);
}

Test(coming_from, shows_configurations_that_are_right, .timeout = 30) {
    struct temporary folder;
    char line[512], piece[8192];
    size_t pieces = 0, size = 0;
    bool inside = false;
    temporary_create(&folder);
    FILE *page = fopen("examples/coming-from.md", "re");
    cr_assert(page != NULL, "the page is gone");
    while (fgets(line, sizeof(line), page) != NULL) {
        if (inside && strcmp(line, "```\n") == 0) {
            check_piece(&folder, piece);
            inside = false;
            pieces++;
        } else if (inside) {
            size += (size_t)snprintf(piece + size, sizeof(piece) - size, "%s", line);
            cr_assert(size < sizeof(piece), "a piece is too large");
        } else if (strcmp(line, "```yaml\n") == 0) {
            inside = true;
            size = 0;
            piece[0] = 0;
        }
    }
    fclose(page);
    cr_assert(!inside && pieces >= 2, "%zu pieces", pieces);
}

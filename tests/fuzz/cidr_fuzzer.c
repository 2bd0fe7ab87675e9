/* Any text as an IP address or a block of them: what is read holds its own ends, and alone is a set. */
#include "base/check.h"
#include "base/cidr.h"

#include <string.h>

enum { TEXT_SIZE_MAX = 100 };

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    char text[TEXT_SIZE_MAX + 1];
    if (size > TEXT_SIZE_MAX) {
        return 0;
    }
    memcpy(text, input, size);
    text[size] = 0;
    struct cidr cidr;
    struct error error = {.text = ""};
    struct cidr_ip ip;
    if (cidr_parse(&cidr, text, &error)) {
        check(cidr_sort(&cidr, 1) == 1);
        check(cidr_contains(&cidr, 1, &cidr.first));
        check(cidr_contains(&cidr, 1, &cidr.last));
    } else {
        check(error.text[0] != 0);
    }
    if (cidr_parse_ip(&ip, text)) {
        check(cidr_parse(&cidr, text, &error));
        check(cidr_contains(&cidr, 1, &ip));
    }
    return 0;
}

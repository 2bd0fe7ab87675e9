#include "lua/embed.h"

/* The path is relative to where the compiler runs, the root of the tree. */
#define EMBED(name, path)                                                                                              \
    __asm__(".section .rodata\n"                                                                                       \
            ".global embed_" #name ", embed_" #name "_end\n"                                                           \
            "embed_" #name ": .incbin \"" path "\"\n"                                                                  \
            "embed_" #name "_end: .byte 0\n"                                                                           \
            ".previous\n")

EMBED(libs, "lua/moonring/libs.lua");

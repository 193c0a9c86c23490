/* SPDX-License-Identifier: MIT
 *
 * Runs a fuzz target once on each of the files that are named: what was found before, without libFuzzer.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

int main(int argc, char **argv)
{
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++) {
        FILE *f = fopen(argv[i], "rb");
        uint8_t *data = malloc(1 << 20);
        if (!f || !data) {
            fprintf(stderr, "%s: cannot be read\n", argv[i]);
            return 2;
        }
        size_t size = fread(data, 1, 1 << 20, f);
        fclose(f);
        uint8_t *exact = malloc(size ? size : 1);
        if (!exact)
            return 2;
        for (size_t k = 0; k < size; k++)
            exact[k] = data[k];
        free(data);
        fprintf(stderr, "%s\n", argv[i]);
        LLVMFuzzerTestOneInput(exact, size);
        free(exact);
    }
    return 0;
}

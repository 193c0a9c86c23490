/* SPDX-License-Identifier: MIT
 *
 * The body of the LZ4 decoders of lz4.h, compiled for each SIMD level: included with FL_LZ4_NAME (of the function),
 * FL_LZ4_TARGET (its attribute) and FL_LZ4_SHUFFLE (1: bytes can be shuffled in a register). No guard: on purpose.
 */

#define FL_LZ4_JOIN(a, b) a##_##b
#define FL_LZ4_OF(a, b) FL_LZ4_JOIN(a, b)

/* `length` bytes (OUT) of what repeats every `offset` bytes and begins at out - offset. Writes up to 63 bytes more. */
FL_LZ4_TARGET static inline void FL_LZ4_OF(FL_LZ4_NAME, repeat)(uint8_t *out, size_t offset, size_t length)
{
    const uint8_t *from = out - offset;
    if (offset >= 32) {
        for (size_t i = 0; i < length; i += 32)
            memcpy(out + i, from + i, 32);
        return;
    }
#if FL_LZ4_SHUFFLE
    /* the load is short, so that one of the last stores holds all of it: else it would wait for both to be done */
    if (offset == 2) {
        uint16_t two;
        memcpy(&two, from, 2);
        __m256i v = _mm256_set1_epi16((short)two);
        for (size_t i = 0; i < length; i += 32)
            _mm256_storeu_si256((__m256i *)(out + i), v);
        return;
    }
    if (offset < 16) {
        __m256i v = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)from));
        v = _mm256_shuffle_epi8(v, _mm256_load_si256((const __m256i *)fl_lz4_turns[offset]));
        size_t step = 32 - 32 % offset;
        for (size_t i = 0; i < length; i += step)
            _mm256_storeu_si256((__m256i *)(out + i), v);
        return;
    }
#else
    if (offset < 16) {
        size_t far = offset * ((15 + offset) / offset), first = length < far ? length : far;
        for (size_t i = 0; i < first; i++) /* from then on 16 bytes lie between what is read and what is written */
            out[i] = from[i];
        for (size_t i = first; i < length; i += 16)
            memcpy(out + i, out + i - far, 16);
        return;
    }
#endif
    for (size_t i = 0; i < length; i += 16)
        memcpy(out + i, from + i, 16);
}

/* A match whose length is in its token: 18 bytes at most. Writes up to 63 bytes more. */
FL_LZ4_TARGET static inline void FL_LZ4_OF(FL_LZ4_NAME, short_match)(uint8_t *op, size_t offset, size_t length)
{
#if FL_LZ4_SHUFFLE
    /* most often what repeats is shorter than a register; no branch on how it overlaps */
    __m256i v = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(op - offset)));
    v = _mm256_shuffle_epi8(v, _mm256_load_si256((const __m256i *)fl_lz4_turns[offset < 16 ? offset : 16]));
    const uint8_t *behind = op - offset + 16;
    _mm256_storeu_si256((__m256i *)op, v);
    if (length > 16 && offset >= 16)
        memcpy(op + 16, behind, 16);
#else
    FL_LZ4_OF(FL_LZ4_NAME, repeat)(op, offset, length);
#endif
}

/* The same as repeat, and not a byte more. */
FL_LZ4_TARGET static inline void FL_LZ4_OF(FL_LZ4_NAME, repeat_exactly)(uint8_t *out, size_t offset, size_t length)
{
    size_t most = length < FL_LZ4_SLACK ? 0 : length - FL_LZ4_SLACK;
    if (most)
        FL_LZ4_OF(FL_LZ4_NAME, repeat)(out, offset, most);
    const uint8_t *from = out - offset;
    for (size_t i = most; i < length; i++)
        out[i] = from[i];
}

/* `slack` and `width` are constants wherever this is inlined, or one of them. */
FL_LZ4_TARGET static inline __attribute__((always_inline)) int FL_LZ4_OF(FL_LZ4_NAME, of)(
    const uint8_t *src, size_t size, uint8_t *dst, size_t room, size_t slack, size_t width, size_t *last_row)
{
    const ptrdiff_t tight = slack < FL_LZ4_SLACK ? FL_LZ4_SLACK : 0; /* so near to the end of the room it gets slow */
    const uint8_t *ip = src, *iend = src + size;
    uint8_t *op = dst, *oend = dst + room;
    /* Sequences far from the end of the input: what is read beyond their literals is input, too. */
    while (iend - ip >= FL_LZ4_AHEAD && oend - op >= tight) {
        const uint8_t *sequence = ip;
        unsigned token = *ip++;
        if (width == FL_LZ4_NO_ROWS && token < 15) {
            /* In bytes that are no planes of bits, match stands behind match: where the next token is does not depend
             * on this one, and the processor goes ahead. */
            size_t offset = (size_t)ip[0] | (size_t)ip[1] << 8, length = token + 4;
            ip += 2;
            if (offset == 0 || offset > (size_t)(op - dst) || oend - op < (ptrdiff_t)length)
                return 0;
            FL_LZ4_OF(FL_LZ4_NAME, short_match)(op, offset, length);
            op += length;
            continue;
        }
        size_t literals = token >> 4;
        if (literals < 15) {
            memcpy(op, ip, 32);
        } else {
            if (fl_lz4_length(&ip, iend, &literals))
                return 0;
            if ((size_t)(iend - ip) < literals + FL_LZ4_AHEAD || (size_t)(oend - op - tight) < literals) {
                ip = sequence;
                break;
            }
            for (size_t i = 0; i < literals; i += 32)
                memcpy(op + i, ip + i, 32);
        }
        ip += literals;
        op += literals;
        size_t offset = (size_t)ip[0] | (size_t)ip[1] << 8, length = token & 15;
        ip += 2;
        if (offset == 0 || offset > (size_t)(op - dst))
            return 0;
        if (length < 15) {
            length += 4;
            if (oend - op < (ptrdiff_t)length) /* the literals may have gone beyond the end, too */
                return 0;
            FL_LZ4_OF(FL_LZ4_NAME, short_match)(op, offset, length);
            op += length;
            continue;
        }
        if (fl_lz4_length(&ip, iend, &length))
            return 0;
        length += 4;
        if (oend - op - tight < (ptrdiff_t)length) {
            ip = sequence;
            op -= literals;
            break;
        }
        size_t needed;
        if (fl_lz4_is_last(ip, iend, op + length, oend) &&
            fl_lz4_rows(ip + 1, dst, op, offset, length, oend, width, &needed, last_row)) {
            FL_LZ4_OF(FL_LZ4_NAME, repeat)(op, offset, needed);
            return 1;
        }
        FL_LZ4_OF(FL_LZ4_NAME, repeat)(op, offset, length);
        op += length;
    }
    /* What is left: the same, with an eye on each byte of input. */
    for (;;) {
        if (ip >= iend)
            return 0;
        unsigned token = *ip++;
        size_t literals = token >> 4, length = token & 15;
        if (literals == 15 && fl_lz4_length(&ip, iend, &literals))
            return 0;
        size_t left = (size_t)(iend - ip);
        if (literals > left || literals > (size_t)(oend - op))
            return 0;
        memcpy(op, ip, literals);
        ip += literals;
        op += literals;
        if (left - literals < 2)
            return ip == iend && op == oend;
        size_t offset = (size_t)ip[0] | (size_t)ip[1] << 8;
        ip += 2;
        if (length == 15 && fl_lz4_length(&ip, iend, &length))
            return 0;
        length += 4;
        if (offset == 0 || offset > (size_t)(op - dst) || (size_t)(oend - op) < length)
            return 0;
        size_t needed;
        if (fl_lz4_is_last(ip, iend, op + length, oend) &&
            fl_lz4_rows(ip + 1, dst, op, offset, length, oend, width, &needed, last_row)) {
            FL_LZ4_OF(FL_LZ4_NAME, repeat)(op, offset, needed);
            return 1;
        }
        if (tight)
            FL_LZ4_OF(FL_LZ4_NAME, repeat_exactly)(op, offset, length);
        else
            FL_LZ4_OF(FL_LZ4_NAME, repeat)(op, offset, length);
        op += length;
    }
}

/* Rows of bit planes; with slack. */
FL_LZ4_TARGET static __attribute__((noinline)) int FL_LZ4_OF(FL_LZ4_NAME, planes)(
    const uint8_t *src, size_t size, uint8_t *dst, size_t room, size_t width, size_t *last_row)
{
    return FL_LZ4_OF(FL_LZ4_NAME, of)(src, size, dst, room, FL_LZ4_SLACK, width, last_row);
}

FL_LZ4_TARGET static __attribute__((noinline)) int FL_LZ4_OF(FL_LZ4_NAME, bytes)(
    const uint8_t *src, size_t size, uint8_t *dst, size_t room, size_t slack)
{
    size_t last_row = 0;
    return FL_LZ4_OF(FL_LZ4_NAME, of)(src, size, dst, room, slack, FL_LZ4_NO_ROWS, &last_row);
}

#undef FL_LZ4_OF
#undef FL_LZ4_JOIN
#undef FL_LZ4_NAME
#undef FL_LZ4_TARGET
#undef FL_LZ4_SHUFFLE

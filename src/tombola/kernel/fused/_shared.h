/* What every copy of the loops has in common: their types, bfloat16, and bits of a mask. */

#define LANES 16
#define BLOCK 1024
#define UP(n) (((n) + LANES - 1) / LANES * LANES)
#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define PART static inline __attribute__((always_inline))
#define LOOP static __attribute__((noinline))

/* Which numbers are dropped, and what the others are multiplied with; nothing where limit is 0. */
struct dropout {
    uint64_t key;
    uint32_t limit; /* the chance to be dropped, times 2**32 */
    float scale;
};

/* One step of AdamW for one tensor. */
struct adamw {
    float clip, decay, rate, root, part1, beta2, part2, eps;
};

/* What attention is taken over: for each text, queries[text] to queries[text + 1] are the rows of its
 * queries, and its keys are `counts[text]` rows from keys[text] on. */
struct attention {
    const void *q, *k, *v;
    const float *bias_q, *bias_k, *bias_v, *none; /* none: zeros for one head */
    const int64_t *queries, *keys, *counts;
    size_t stride_q, stride; /* from a row of q to the next, and of k and v */
    size_t texts, heads, size;
    size_t most, longest; /* queries and keys of a text, rounded up to LANES */
    float factor;
    float *work;
    struct dropout drop;
};

struct gradients {
    void *q, *k, *v;
    float *bias_q, *bias_k, *bias_v;
};

struct blocks {
    void (*gelu)(const float *, void *, void *, size_t, size_t);
    void (*gelu_backward)(const void *, const void *, void *, float *, size_t, size_t);
    void (*norm)(const float *, void *, const void *, const float *, const float *, void *,
                 float *, float *, size_t, size_t, float, struct dropout);
    void (*norm_backward)(const void *, const float *, const float *, const void *, void *, void *,
                          float *, float *, float *, float *, size_t, size_t, struct dropout);
    void (*attend)(const struct attention *, void *, float *);
    void (*attend_backward)(const struct attention *, const void *, const float *,
                            const struct gradients *);
};

struct loops {
    struct blocks kinds[2]; /* activations in float32, and in bfloat16 */
    double (*squares)(const float *, const uint8_t *, size_t);
    void (*adamw)(float *, const float *, float *, float *, const uint8_t *, size_t, struct adamw);
    int (*adamw_kept)(float *, const float *, float *, float *, const uint8_t *, size_t, size_t,
                      struct adamw);
    void (*adamw_rows)(float *, float *, float *, const float *, const int64_t *, const float *,
                       const uint8_t *, size_t, size_t, struct adamw);
};

/* --- bfloat16: the first half of a float --- */

PART float widened(uint16_t half)
{
    union { uint32_t bits; float number; } whole = {(uint32_t)half << 16};
    return whole.number;
}

/* The nearest, the even one of two; NaN stays NaN. */
PART uint16_t rounded(float x)
{
    union { float number; uint32_t bits; } whole = {x};
    uint32_t even = (whole.bits + 0x7fffu + ((whole.bits >> 16) & 1)) >> 16;
    return (uint16_t)(x == x ? even : 0x7fc0u);
}

/* --- which of eight numbers are kept --- */

typedef int32_t ints __attribute__((vector_size(32)));
typedef float floats __attribute__((vector_size(32)));

/* For each byte: which of its bits are set, from the lowest on; how many are set below each of
 * those; and how many are set in all. */
static ints set_places[256], set_ranks[256];
static uint8_t set_counts[256];
static const ints EACH_BIT = {1, 2, 4, 8, 16, 32, 64, 128};

static void count_bits(void)
{
    for (int byte = 0; byte < 256; byte++) {
        set_counts[byte] = 0;
        for (int bit = 0; bit < 8; bit++)
            if (byte >> bit & 1) {
                set_ranks[byte][bit] = set_counts[byte];
                set_places[byte][set_counts[byte]++] = bit;
            }
    }
}

/* Eight bytes that are 0 or 1, as bits. */
PART unsigned eight(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return (unsigned)(word * 0x0102040810204080u >> 56);
}

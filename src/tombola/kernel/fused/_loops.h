/* The loops of _fused.c, once for each instruction set: SET is the name of one.
 *
 * They are plain C, made into vectors by the compiler. No product is contracted with a sum, sums
 * over a row are taken in sixteen lanes, whatever the registers are, and no function of a library
 * is called, so that results are bitwise identical on every processor.
 */

#define NAME(function) JOIN(function, SET)
#include "../_erf.h"

/* --- functions of one number --- */

/* e**x to 2 units in the last place, for x up to 88; below -86 it stays 4e-38, a normal number.
 * x = k log 2 + r, and e**r is a polynomial (Cephes, expf). */
PART float NAME(power)(float x)
{
    const float round = 12582912.0f; /* 1.5 x 2**23: the last bits of a sum are k */
    x = x < -86.0f ? -86.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float sum = x * 1.44269504088896341f + round, k = sum - round;
    float r = x - k * 0.693359375f + k * 2.12194440e-4f;
    float p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    union { float number; uint32_t bits; } whole = {sum}, scaled = {p * r * r + r + 1.0f};
    scaled.bits += whole.bits << 23;
    return scaled.number;
}

/* 32 bits that look random for each 32 bits (C. Wellons, lowbias32). */
PART uint32_t NAME(mix)(uint32_t x)
{
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}

/* What dropout multiplies the number at a place with: 0 where the 32 bits of a key and the place
 * are below the limit, else the scale. */
PART float NAME(kept)(struct dropout drop, uint32_t place)
{
    uint32_t bits = NAME(mix)(place + (uint32_t)drop.key);
    bits = NAME(mix)(bits ^ (uint32_t)(drop.key >> 32));
    return bits >= drop.limit ? drop.scale : 0.0f;
}

/* x <- dropout(x), of n numbers that begin at a place. */
PART void NAME(drop)(float *restrict x, size_t n, struct dropout drop, uint32_t place)
{
    if (drop.limit)
        for (size_t i = 0; i < n; i++)
            x[i] *= NAME(kept)(drop, place + (uint32_t)i);
}

/* --- sums over a row --- */

/* The sum of sixteen lanes: halves, quarters, eighths and the last two. */
PART float NAME(total)(const float *lanes)
{
    float part[LANES];
    memcpy(part, lanes, sizeof part);
    for (int half = LANES / 2; half; half /= 2)
        for (int lane = 0; lane < half; lane++)
            part[lane] += part[lane + half];
    return part[0];
}

/* The sum of (x - shift) (y - shift), where number i is added to lane i % 16. */
PART float NAME(dot)(const float *x, const float *y, float shift, size_t n)
{
    lanes sums[LANES / WIDE] = {{0}};
    float tail[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int part = 0; part < LANES / WIDE; part++) {
            lanes a, b;
            memcpy(&a, x + i + part * WIDE, sizeof a);
            memcpy(&b, y + i + part * WIDE, sizeof b);
            sums[part] += (a - shift) * (b - shift);
        }
    memcpy(tail, sums, sizeof tail);
    for (int lane = 0; i < n; i++, lane++)
        tail[lane] += (x[i] - shift) * (y[i] - shift);
    return NAME(total)(tail);
}

/* The sum of x, in the same lanes. */
PART float NAME(sum)(const float *x, size_t n)
{
    lanes sums[LANES / WIDE] = {{0}};
    float tail[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int part = 0; part < LANES / WIDE; part++) {
            lanes a;
            memcpy(&a, x + i + part * WIDE, sizeof a);
            sums[part] += a;
        }
    memcpy(tail, sums, sizeof tail);
    for (int lane = 0; i < n; i++, lane++)
        tail[lane] += x[i];
    return NAME(total)(tail);
}

/* The largest of n numbers, and at least the first; 0 of none. A NaN behind it may be passed over. */
PART float NAME(largest)(const float *x, size_t n)
{
    float most[LANES], largest;
    for (int lane = 0; lane < LANES; lane++)
        most[lane] = n ? x[0] : 0.0f;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int lane = 0; lane < LANES; lane++)
            most[lane] = x[i + lane] > most[lane] ? x[i + lane] : most[lane];
    for (int lane = 0; i < n; i++, lane++)
        most[lane] = x[i] > most[lane] ? x[i] : most[lane];
    largest = most[0];
    for (int lane = 1; lane < LANES; lane++)
        largest = most[lane] > largest ? most[lane] : largest;
    return largest;
}

/* --- small products --- */

/* Some rows and some vectors of columns of c = a b: a is read with two strides, b and c have rows of
 * n numbers. Each sum is taken in the order of k. */
PART void NAME(tile)(const float *a, size_t down, size_t along, const float *b, float *c, size_t n,
                     size_t k, int rows, int vectors)
{
    lanes sums[4][2] = {{{0}}};
    for (size_t i = 0; i < k; i++) {
        lanes right[2];
        for (int v = 0; v < vectors; v++)
            memcpy(&right[v], b + i * n + v * WIDE, sizeof(lanes));
        for (int row = 0; row < rows; row++)
            for (int v = 0; v < vectors; v++)
                sums[row][v] += right[v] * a[row * down + i * along];
    }
    for (int row = 0; row < rows; row++)
        for (int v = 0; v < vectors; v++)
            memcpy(c + row * n + v * WIDE, &sums[row][v], sizeof(lanes));
}

/* c = a b, (m, k) times (k, n); n is a multiple of LANES. Number (i, j) of a is at i down + j along. */
LOOP void NAME(product)(const float *restrict a, size_t down, size_t along,
                        const float *restrict b, float *restrict c, size_t m, size_t n, size_t k)
{
    size_t row = 0;
    for (; row + 4 <= m; row += 4, a += 4 * down, c += 4 * n) {
        size_t j = 0;
        for (; j + 2 * WIDE <= n; j += 2 * WIDE)
            NAME(tile)(a, down, along, b + j, c + j, n, k, 4, 2);
        for (; j < n; j += WIDE)
            NAME(tile)(a, down, along, b + j, c + j, n, k, 4, 1);
    }
    for (; row < m; row++, a += down, c += n) {
        size_t j = 0;
        for (; j + 2 * WIDE <= n; j += 2 * WIDE)
            NAME(tile)(a, down, along, b + j, c + j, n, k, 1, 2);
        for (; j < n; j += WIDE)
            NAME(tile)(a, down, along, b + j, c + j, n, k, 1, 1);
    }
}

/* --- softmax --- */

/* x <- e**(factor x) / their sum, over the first n of a row of width numbers; the others become 0. */
PART void NAME(softmax)(float *restrict x, size_t n, size_t width, float factor)
{
    float most = NAME(largest)(x, n);
    for (size_t i = 0; i < width; i++)
        x[i] = NAME(power)((x[i] - most) * factor);
    float scale = 1.0f / NAME(sum)(x, n);
    for (size_t i = 0; i < n; i++)
        x[i] *= scale;
    memset(x + n, 0, (width - n) * sizeof *x);
}

#include "_adamw.h"

/* --- parts of a block, for each kind of number that its activations are kept in --- */

#define KIND f32
#define stored float
#define GET(x) (x)
#define PUT(x) (x)
#include "_blocks.h"
#undef KIND
#undef stored
#undef GET
#undef PUT

#define KIND bf16
#define stored uint16_t
#define GET(x) widened(x)
#define PUT(x) rounded(x)
#include "_blocks.h"
#undef KIND
#undef stored
#undef GET
#undef PUT

static const struct loops NAME(loops) = {
    {JOIN(NAME(blocks), f32), JOIN(NAME(blocks), bf16)},
    NAME(squares),
    NAME(adamw),
    NAME(adamw_kept),
    NAME(adamw_rows),
};

#undef NAME

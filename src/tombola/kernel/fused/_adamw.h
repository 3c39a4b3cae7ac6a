/* AdamW over the numbers that are kept. Included once for each instruction set, by `_loops.h`. */

/* --- what is kept of some numbers --- */

/* x[places[i]] for each of eight numbers. */
PART floats NAME(permuted)(const float *x, ints places)
{
    floats numbers, made;
    memcpy(&numbers, x, sizeof numbers);
#ifdef __clang__
    for (int i = 0; i < 8; i++)
        made[i] = numbers[places[i]];
#else
    made = __builtin_shuffle(numbers, places);
#endif
    return made;
}

/* The numbers of x that are kept, one after another, of n; how many. y has room for n + 8. */
PART size_t NAME(compress)(float *restrict y, const float *restrict x,
                           const uint8_t *restrict kept, size_t n)
{
    size_t i = 0, count = 0;
    for (; i + 8 <= n; i += 8) {
        unsigned bits = eight(kept + i);
        floats some = NAME(permuted)(x + i, set_places[bits]);
        __builtin_prefetch(x + i + BLOCK);
        memcpy(y + count, &some, sizeof some);
        count += set_counts[bits];
    }
    for (; i < n; i++) {
        y[count] = x[i];
        count += kept[i] != 0;
    }
    return count;
}

/* Its inverse: y gets the numbers of x where it is kept, and +0.0 elsewhere. x has room for n + 8. */
PART void NAME(expand)(float *restrict y, const float *restrict x, const uint8_t *restrict kept,
                       size_t n)
{
    size_t i = 0, count = 0;
    for (; i + 8 <= n; i += 8) {
        unsigned bits = eight(kept + i);
        floats some = NAME(permuted)(x + count, set_ranks[bits]);
        some = (floats)((ints)some & (((int)bits & EACH_BIT) != 0));
        memcpy(y + i, &some, sizeof some);
        count += set_counts[bits];
    }
    for (; i < n; i++) {
        y[i] = kept[i] ? x[count] : 0.0f;
        count += kept[i] != 0;
    }
}

/* --- AdamW --- */

/* The sum of g**2 over what is kept; kept may be NULL. Sums of 1,024 are added up in a double. */
LOOP double NAME(squares)(const float *restrict g, const uint8_t *restrict kept, size_t n)
{
    double sum = 0.0;
    float living[BLOCK];
    for (size_t begin = 0; begin < n; begin += BLOCK) {
        size_t some = n - begin < BLOCK ? n - begin : BLOCK;
        for (size_t i = 0; kept && i < some; i++)
            living[i] = kept[begin + i] ? g[begin + i] : 0.0f;
        const float *x = kept ? living : g + begin;
        sum += NAME(dot)(x, x, 0.0f, some);
    }
    return sum;
}

/* For each weight w, with c = clip g:
 *   m <- m + (1 - beta1) (c - m),   v <- beta2 v + (1 - beta2) c**2,
 *   w <- decay w - rate m / (sqrt(v) root + eps).
 */
LOOP void NAME(adamw_all)(float *restrict w, const float *restrict g, float *restrict m,
                          float *restrict v, size_t n, struct adamw a)
{
    for (size_t i = 0; i < n; i++) {
        float c = g[i] * a.clip;
        m[i] += (c - m[i]) * a.part1;
        v[i] = v[i] * a.beta2 + c * c * a.part2;
        w[i] = w[i] * a.decay - m[i] * a.rate / (sqrtf(v[i]) * a.root + a.eps);
    }
}

/* The same for the weights that are kept; the others become +0.0, and so do their m and v. */
LOOP void NAME(adamw)(float *restrict w, const float *restrict g, float *restrict m,
                      float *restrict v, const uint8_t *restrict kept, size_t n, struct adamw a)
{
    if (!kept) {
        NAME(adamw_all)(w, g, m, v, n, a);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        float c = g[i] * a.clip;
        float mean = m[i] + (c - m[i]) * a.part1, square = v[i] * a.beta2 + c * c * a.part2;
        float next = w[i] * a.decay - mean * a.rate / (sqrtf(square) * a.root + a.eps);
        m[i] = kept[i] ? mean : 0.0f;
        v[i] = kept[i] ? square : 0.0f;
        w[i] = kept[i] ? next : 0.0f;
    }
}

/* The same where m and v have `count` numbers: those of the weights that are kept, in their order.
 * Returns whether there are as many of those; if not, w, m and v are of no more use. */
LOOP int NAME(adamw_kept)(float *restrict w, const float *restrict g, float *restrict m,
                          float *restrict v, const uint8_t *restrict kept, size_t n, size_t count,
                          struct adamw a)
{
    float weights[BLOCK + 8] = {0}, gradients[BLOCK + 8];
    for (size_t begin = 0; begin < n; begin += BLOCK, w += BLOCK, g += BLOCK, kept += BLOCK) {
        size_t some = n - begin < BLOCK ? n - begin : BLOCK;
        size_t living = NAME(compress)(weights, w, kept, some);
        if (living > count)
            return 0;
        NAME(compress)(gradients, g, kept, some);
        NAME(adamw_all)(weights, gradients, m, v, living, a);
        NAME(expand)(w, weights, kept, some);
        m += living, v += living, count -= living;
    }
    return !count;
}

/* The same as `adamw` for the rows of a matrix: places has for each its row in g, -1 where its
 * gradient is zero, or -2 where that has always been so, and m and v are zero, too. */
LOOP void NAME(adamw_rows)(float *restrict w, float *restrict m, float *restrict v,
                           const float *restrict g, const int64_t *restrict places,
                           const float *restrict zeros, const uint8_t *restrict kept,
                           size_t height, size_t width, struct adamw a)
{
    for (size_t row = 0; row < height; row++) {
        size_t at = row * width;
        if (places[row] >= -1) {
            const float *gradient = places[row] < 0 ? zeros : g + (size_t)places[row] * width;
            NAME(adamw)(w + at, gradient, m + at, v + at, kept ? kept + at : NULL, width, a);
        } else if (a.decay != 1.0f)
            for (size_t i = at; i < at + width; i++)
                w[i] *= a.decay;
    }
}

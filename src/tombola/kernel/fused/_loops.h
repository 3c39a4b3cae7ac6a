/* The loops of _fused.c, once for each instruction set: SET is the name of one.
 *
 * They are plain C, made into vectors by the compiler. No product is contracted with a sum, sums
 * over a row are taken in sixteen lanes, whatever the registers are, and no function of a library
 * is called, so that the bits are the same on every processor.
 */

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(function) JOIN(function, SET)

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

/* erf(x) to 4e-7: a rational function on [-4, 4], its ends beyond (XLA, ErfImpl32). */
PART float NAME(erf)(float x)
{
    x = x < -4.0f ? -4.0f : x;
    x = x > 4.0f ? 4.0f : x;
    float y = x * x;
    float p = y * -2.72614225801306e-10f + 2.77068142495902e-08f;
    p = p * y - 2.10102402082508e-06f;
    p = p * y - 5.69250639462346e-05f;
    p = p * y - 7.34990630326855e-04f;
    p = p * y - 2.95459980854025e-03f;
    p = p * y - 1.60960333262415e-02f;
    float q = y * -1.45660718464996e-05f - 2.13374055278905e-04f;
    q = q * y - 1.68282697438203e-03f;
    q = q * y - 7.37332916720468e-03f;
    q = q * y - 1.42647390514189e-02f;
    return x * p / q;
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

/* --- bias + GELU --- */

/* For rows x of a product: with z = x + bias and F, f the normal distribution and its density,
 *   out = z F(z),   x <- F(z) + z f(z), the derivative.
 */
LOOP void NAME(gelu)(const float *restrict bias, float *restrict x, float *restrict out,
                     size_t rows, size_t width)
{
    for (size_t row = 0; row < rows; row++, x += width, out += width)
        for (size_t i = 0; i < width; i++) {
            float z = x[i] + bias[i];
            float below = NAME(erf)(z * 0.707106781186547524f) * 0.5f + 0.5f;
            out[i] = z * below;
            x[i] = below + z * (NAME(power)(z * z * -0.5f) * 0.398942280401432678f);
        }
}

/* dx = g x derivative, and the sum of its rows is added to dbias. */
LOOP void NAME(gelu_backward)(const float *restrict derivative, const float *restrict g,
                              float *restrict dx, float *restrict dbias, size_t rows, size_t width)
{
    for (size_t row = 0; row < rows; row++, derivative += width, g += width, dx += width)
        for (size_t i = 0; i < width; i++) {
            dx[i] = derivative[i] * g[i];
            dbias[i] += dx[i];
        }
}

/* --- bias + dropout + residual + LayerNorm --- */

/* x <- residual + dropout(x + bias), of one row that begins at a place. */
PART void NAME(add)(const float *restrict bias, float *restrict x, const float *restrict residual,
                    size_t width, struct dropout drop, uint32_t place)
{
    if (drop.limit)
        for (size_t i = 0; i < width; i++)
            x[i] = residual[i] + (x[i] + bias[i]) * NAME(kept)(drop, place + (uint32_t)i);
    else
        for (size_t i = 0; i < width; i++)
            x[i] = residual[i] + (x[i] + bias[i]);
}

/* For rows x of a product: with s = residual + dropout(x + bias),
 *   x <- n = (s - mean(s)) r,   r = 1 / sqrt(variance(s) + eps),   out = n weight + shift.
 */
LOOP void NAME(norm)(const float *restrict bias, float *restrict x, const float *restrict residual,
                     const float *restrict weight, const float *restrict shift, float *restrict out,
                     float *restrict r, size_t rows, size_t width, float eps, struct dropout drop)
{
    for (size_t row = 0; row < rows; row++, x += width, residual += width, out += width) {
        NAME(add)(bias, x, residual, width, drop, (uint32_t)(row * width));
        float mean = NAME(sum)(x, width) / (float)width;
        float variance = NAME(dot)(x, x, mean, width) / (float)width;
        float scale = r[row] = 1.0f / sqrtf(variance + eps);
        for (size_t i = 0; i < width; i++) {
            x[i] = (x[i] - mean) * scale;
            out[i] = x[i] * weight[i] + shift[i];
        }
    }
}

/* With h = g weight:
 *   dresidual = r (h - mean(h) - n mean(h n)),   dx = dropout(dresidual);
 * the sums over rows of dx, g n and g are added to dbias, dweight and dshift.
 */
LOOP void NAME(norm_backward)(const float *restrict n, const float *restrict r,
                              const float *restrict weight, const float *restrict g,
                              float *restrict dx, float *restrict dresidual, float *restrict dbias,
                              float *restrict dweight, float *restrict dshift, size_t rows,
                              size_t width, struct dropout drop)
{
    for (size_t row = 0; row < rows; row++) {
        uint32_t place = (uint32_t)(row * width);
        for (size_t i = 0; i < width; i++) {
            dresidual[i] = g[i] * weight[i];
            dweight[i] += g[i] * n[i];
            dshift[i] += g[i];
        }
        float mean = NAME(sum)(dresidual, width) / (float)width, scale = r[row];
        float along = NAME(dot)(dresidual, n, 0.0f, width) / (float)width;
        for (size_t i = 0; i < width; i++)
            dresidual[i] = (dresidual[i] - mean - n[i] * along) * scale;
        if (drop.limit)
            for (size_t i = 0; i < width; i++)
                dx[i] = dresidual[i] * NAME(kept)(drop, place + (uint32_t)i);
        else
            for (size_t i = 0; i < width; i++)
                dx[i] = dresidual[i];
        for (size_t i = 0; i < width; i++)
            dbias[i] += dx[i];
        n += width, g += width, dx += width, dresidual += width;
    }
}

/* --- softmax + dropout --- */

/* x <- dropout(x), of n numbers that begin at a place. */
PART void NAME(drop)(float *restrict x, size_t n, struct dropout drop, uint32_t place)
{
    if (drop.limit)
        for (size_t i = 0; i < n; i++)
            x[i] *= NAME(kept)(drop, place + (uint32_t)i);
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

/* For each row of scores, of which the first n count:
 *   scores <- p = e**(factor x score) / sum,   out = dropout(p);   both are 0 from n on.
 * lengths has n for each group of rows. The powers are taken of a group at once, since rows may be
 * shorter than a vector.
 */
LOOP void NAME(softmax)(float *restrict scores, float *restrict out,
                        const int64_t *restrict lengths, size_t groups, size_t rows, size_t width,
                        float factor, struct dropout drop)
{
    size_t all = rows * width;
    for (size_t group = 0; all && group < groups; group++, scores += all, out += all) {
        size_t n = (size_t)lengths[group];
        for (size_t row = 0; row < all; row += width) {
            float most = NAME(largest)(scores + row, n);
            for (size_t i = row; i < row + n; i++)
                scores[i] = (scores[i] - most) * factor;
        }
        for (size_t i = 0; i < all; i++)
            scores[i] = NAME(power)(scores[i]);
        for (size_t row = 0; row < all; row += width) {
            float scale = 1.0f / NAME(sum)(scores + row, n);
            for (size_t i = row; i < row + n; i++)
                scores[i] *= scale;
            memset(scores + row + n, 0, (width - n) * sizeof *scores);
        }
        memcpy(out, scores, all * sizeof *out);
        NAME(drop)(out, all, drop, (uint32_t)(group * all));
    }
}

/* With d = dropout(g):  dscores = factor p (d - sum(d p)). */
LOOP void NAME(softmax_backward)(const float *restrict p, const float *restrict g,
                                 float *restrict dscores, size_t groups, size_t rows, size_t width,
                                 float factor, struct dropout drop)
{
    size_t all = rows * width;
    for (size_t group = 0; all && group < groups; group++, p += all, g += all, dscores += all) {
        memcpy(dscores, g, all * sizeof *g);
        NAME(drop)(dscores, all, drop, (uint32_t)(group * all));
        for (size_t row = 0; row < all; row += width) {
            float sum = NAME(dot)(dscores + row, p + row, 0.0f, width);
            for (size_t i = row; i < row + width; i++)
                dscores[i] = p[i] * (dscores[i] - sum) * factor;
        }
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

/* The same for the rows of a matrix: places has for each its row in g, -1 where its gradient is
 * zero, or -2 where that has always been so, and m and v are zero, too. */
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

static const struct loops NAME(loops) = {
    NAME(gelu),    NAME(gelu_backward),    NAME(norm),    NAME(norm_backward),
    NAME(softmax), NAME(softmax_backward), NAME(squares), NAME(adamw),
    NAME(adamw_rows),
};

#undef JOIN_
#undef JOIN
#undef NAME

/* The parts of a block, once for each instruction set and each kind of number that activations are
 * kept in: `stored` is the type, GET makes a float of it, and PUT the nearest one of a float. All
 * arithmetic is that of float; so are weights, biases, their gradients and the work space.
 */

#define PIECE(function) JOIN(NAME(function), KIND)

/* --- bias + GELU --- */

/* For rows x of a product: with z = x + bias and F, f the normal distribution and its density,
 *   out = z F(z),   x <- F(z) + z f(z), the derivative.
 */
LOOP void PIECE(gelu)(const float *restrict bias, void *restrict products, void *restrict active,
                      size_t rows, size_t width)
{
    stored *restrict x = products, *restrict out = active;
    for (size_t row = 0; row < rows; row++, x += width, out += width)
        for (size_t i = 0; i < width; i++) {
            float z = GET(x[i]) + bias[i];
            float below = NAME(erf)(z * 0.707106781186547524f) * 0.5f + 0.5f;
            out[i] = PUT(z * below);
            x[i] = PUT(below + z * (NAME(power)(z * z * -0.5f) * 0.398942280401432678f));
        }
}

/* dx = g x derivative, and the sum of its rows is added to dbias. */
LOOP void PIECE(gelu_backward)(const void *restrict derivatives, const void *restrict gradient,
                               void *restrict down, float *restrict dbias, size_t rows,
                               size_t width)
{
    const stored *restrict derivative = derivatives, *restrict g = gradient;
    stored *restrict dx = down;
    for (size_t row = 0; row < rows; row++, derivative += width, g += width, dx += width)
        for (size_t i = 0; i < width; i++) {
            float d = GET(derivative[i]) * GET(g[i]);
            dx[i] = PUT(d);
            dbias[i] += d;
        }
}

/* --- bias + dropout + residual + LayerNorm --- */

/* s = residual + dropout(x + bias), of one row that begins at a place. */
PART void PIECE(add)(const float *restrict bias, const stored *restrict x,
                     const stored *restrict residual, float *restrict s, size_t width,
                     struct dropout drop, uint32_t place)
{
    if (drop.limit)
        for (size_t i = 0; i < width; i++)
            s[i] = GET(residual[i])
                   + (GET(x[i]) + bias[i]) * NAME(kept)(drop, place + (uint32_t)i);
    else
        for (size_t i = 0; i < width; i++)
            s[i] = GET(residual[i]) + (GET(x[i]) + bias[i]);
}

/* For rows x of a product: with s = residual + dropout(x + bias),
 *   x <- n = (s - mean(s)) r,   r = 1 / sqrt(variance(s) + eps),   out = n weight + shift.
 * There is work for one row.
 */
LOOP void PIECE(norm)(const float *restrict bias, void *restrict products,
                      const void *restrict residuals, const float *restrict weight,
                      const float *restrict shift, void *restrict normal, float *restrict r,
                      float *restrict work, size_t rows, size_t width, float eps,
                      struct dropout drop)
{
    stored *restrict x = products, *restrict out = normal;
    const stored *restrict residual = residuals;
    for (size_t row = 0; row < rows; row++, x += width, residual += width, out += width) {
        PIECE(add)(bias, x, residual, work, width, drop, (uint32_t)(row * width));
        float mean = NAME(sum)(work, width) / (float)width;
        float variance = NAME(dot)(work, work, mean, width) / (float)width;
        float scale = r[row] = 1.0f / sqrtf(variance + eps);
        for (size_t i = 0; i < width; i++) {
            float n = (work[i] - mean) * scale;
            x[i] = PUT(n);
            out[i] = PUT(n * weight[i] + shift[i]);
        }
    }
}

/* With h = g weight:
 *   dresidual = r (h - mean(h) - n mean(h n)),   dx = dropout(dresidual);
 * the sums over rows of dx, g n and g are added to dbias, dweight and dshift. There is work for two
 * rows.
 */
LOOP void PIECE(norm_backward)(const void *restrict normal, const float *restrict r,
                               const float *restrict weight, const void *restrict gradient,
                               void *restrict down, void *restrict along, float *restrict dbias,
                               float *restrict dweight, float *restrict dshift,
                               float *restrict work, size_t rows, size_t width,
                               struct dropout drop)
{
    const stored *restrict kept = normal, *restrict g = gradient;
    stored *restrict dx = down, *restrict dresidual = along;
    float *restrict h = work, *restrict n = work + width;
    for (size_t row = 0; row < rows; row++) {
        uint32_t place = (uint32_t)(row * width);
        for (size_t i = 0; i < width; i++) {
            float gi = GET(g[i]);
            n[i] = GET(kept[i]);
            h[i] = gi * weight[i];
            dweight[i] += gi * n[i];
            dshift[i] += gi;
        }
        float mean = NAME(sum)(h, width) / (float)width, scale = r[row];
        float parallel = NAME(dot)(h, n, 0.0f, width) / (float)width;
        for (size_t i = 0; i < width; i++) {
            h[i] = (h[i] - mean - n[i] * parallel) * scale;
            dresidual[i] = PUT(h[i]);
        }
        NAME(drop)(h, width, drop, place);
        for (size_t i = 0; i < width; i++) {
            dx[i] = PUT(h[i]);
            dbias[i] += h[i];
        }
        kept += width, g += width, dx += width, dresidual += width;
    }
}

/* --- attention --- */

/* to = x + bias, of a head's part of some rows, filled up with zeros to `width` columns. */
PART void PIECE(gather)(const stored *restrict x, size_t stride, const float *restrict bias,
                        float *restrict to, size_t rows, size_t size, size_t width)
{
    for (size_t row = 0; row < rows; row++, x += stride, to += width) {
        for (size_t i = 0; i < size; i++)
            to[i] = GET(x[i]) + bias[i];
        for (size_t i = size; i < width; i++)
            to[i] = 0.0f;
    }
}

/* The same transposed: (size, width), of which the first `rows` columns are used. */
PART void PIECE(gather_columns)(const stored *restrict x, size_t stride,
                                const float *restrict bias, float *restrict to, size_t rows,
                                size_t size, size_t width)
{
    memset(to, 0, size * width * sizeof *to);
    for (size_t row = 0; row < rows; row++, x += stride)
        for (size_t i = 0; i < size; i++)
            to[i * width + row] = GET(x[i]) + bias[i];
}

/* x = from, of a head's part of some rows. */
PART void PIECE(scatter)(const float *restrict from, size_t width, stored *restrict x,
                         size_t stride, size_t rows, size_t size)
{
    for (size_t row = 0; row < rows; row++, x += stride, from += width)
        for (size_t i = 0; i < size; i++)
            x[i] = PUT(from[i]);
}

/* The same, and the sum of the rows is added to a bias's gradient. */
PART void PIECE(scatter_sum)(const float *restrict from, size_t width, stored *restrict x,
                             size_t stride, size_t rows, size_t size, float *restrict dbias)
{
    for (size_t row = 0; row < rows; row++)
        for (size_t i = 0; i < size; i++)
            dbias[i] += from[row * width + i];
    PIECE(scatter)(from, width, x, stride, rows, size);
}

/* For each text and head: out = dropout(p) v,   p = softmax(factor q k'),   q, k, v with their biases.
 * p is kept without holes, (queries, keys) for each head of each text.
 */
LOOP void PIECE(attend)(const struct attention *a, void *restrict seen, float *restrict p)
{
    size_t size = a->size, wide = UP(size), place = 0;
    float *columns = a->work, *values = columns + size * a->longest;
    float *queries = values + wide * a->longest, *scores = queries + wide * a->most;
    float *mixed = scores + a->longest * a->most;
    for (size_t text = 0; text < a->texts; text++) {
        size_t first = (size_t)a->queries[text], rows = (size_t)a->queries[text + 1] - first;
        size_t key = (size_t)a->keys[text], n = (size_t)a->counts[text], width = UP(n);
        for (size_t head = 0; rows && head < a->heads; head++) {
            size_t at = head * size;
            PIECE(gather_columns)((const stored *)a->k + key * a->stride + at, a->stride,
                                  a->bias_k + at, columns, n, size, width);
            PIECE(gather)((const stored *)a->v + key * a->stride + at, a->stride, a->bias_v + at,
                          values, n, size, wide);
            PIECE(gather)((const stored *)a->q + first * a->stride_q + at, a->stride_q,
                          a->bias_q + at, queries, rows, size, wide);
            NAME(product)(queries, wide, 1, columns, scores, rows, width, size);
            for (size_t row = 0; row < rows; row++) {
                float *s = scores + row * width;
                NAME(softmax)(s, n, width, a->factor);
                if (n) /* p may be NULL where no text has a key */
                    memcpy(p + place, s, n * sizeof *s);
                NAME(drop)(s, n, a->drop, (uint32_t)place);
                place += n;
            }
            NAME(product)(scores, width, 1, values, mixed, rows, wide, n);
            PIECE(scatter)(mixed, wide, (stored *)seen + first * a->heads * size + at,
                           a->heads * size, rows, size);
        }
    }
}

/* The gradients of q, k and v, and of their biases, from those of out and from p. With
 * d = dropout(g v'):  ds = factor p (d - sum(d p)),  dq = ds k,  dk = ds' q,  dv = dropout(p)' g.
 */
LOOP void PIECE(attend_backward)(const struct attention *a, const void *restrict gradient,
                                 const float *restrict p, const struct gradients *d)
{
    size_t size = a->size, wide = UP(size), place = 0, inner = a->heads * a->size;
    float *columns = a->work, *keys = columns + size * a->longest;
    float *queries = keys + wide * a->longest, *g = queries + wide * a->most;
    float *chances = g + wide * a->most, *scores = chances + a->longest * a->most;
    float *made = scores + a->longest * a->most;
    for (size_t text = 0; text < a->texts; text++) {
        size_t first = (size_t)a->queries[text], rows = (size_t)a->queries[text + 1] - first;
        size_t key = (size_t)a->keys[text], n = (size_t)a->counts[text], width = UP(n);
        for (size_t head = 0; rows && head < a->heads; head++) {
            size_t at = head * size, begin = place;
            PIECE(gather_columns)((const stored *)a->v + key * a->stride + at, a->stride,
                                  a->bias_v + at, columns, n, size, width);
            PIECE(gather)((const stored *)a->k + key * a->stride + at, a->stride, a->bias_k + at,
                          keys, n, size, wide);
            PIECE(gather)((const stored *)a->q + first * a->stride_q + at, a->stride_q,
                          a->bias_q + at, queries, rows, size, wide);
            PIECE(gather)((const stored *)gradient + first * inner + at, inner, a->none, g, rows,
                          size, wide);
            for (size_t row = 0; row < rows; row++, place += n) {
                if (n)
                    memcpy(chances + row * width, p + place, n * sizeof *p);
                NAME(drop)(chances + row * width, n, a->drop, (uint32_t)place);
            }
            NAME(product)(chances, 1, width, g, made, n, wide, rows);
            PIECE(scatter_sum)(made, wide, (stored *)d->v + key * a->stride + at, a->stride, n,
                               size, d->bias_v + at);
            NAME(product)(g, wide, 1, columns, scores, rows, width, size);
            for (size_t row = 0; row < rows; row++, begin += n) {
                float *s = scores + row * width;
                const float *own = p + begin;
                NAME(drop)(s, n, a->drop, (uint32_t)begin);
                float sum = NAME(dot)(s, own, 0.0f, n);
                for (size_t i = 0; i < n; i++)
                    s[i] = own[i] * (s[i] - sum) * a->factor;
            }
            NAME(product)(scores, width, 1, keys, made, rows, wide, n);
            PIECE(scatter_sum)(made, wide, (stored *)d->q + first * a->stride_q + at, a->stride_q,
                               rows, size, d->bias_q + at);
            NAME(product)(scores, 1, width, queries, made, n, wide, rows);
            PIECE(scatter_sum)(made, wide, (stored *)d->k + key * a->stride + at, a->stride, n,
                               size, d->bias_k + at);
        }
    }
}

static const struct blocks PIECE(blocks) = {
    PIECE(gelu), PIECE(gelu_backward), PIECE(norm), PIECE(norm_backward),
    PIECE(attend), PIECE(attend_backward),
};

#undef PIECE

#pragma once
// GPT-2 in fp64, written from the paper's formulas with plain loops: what the blocks are held
// against.
#include <cmath>
#include <cstdint>
#include <vector>

namespace sherd::test {

using Vector = std::vector<double>;

struct Gpt2Shape {
  std::size_t sequences, length, heads, width, ffn, vocabulary;
  [[nodiscard]] std::size_t rows() const { return sequences * length; }
};

[[nodiscard]] inline Vector product(const Vector& x, const Vector& w, const Vector& bias,
                                    std::size_t rows) {
  const std::size_t out = bias.size(), in = w.size() / out;
  Vector y(rows * out);
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t o = 0; o < out; ++o) {
      double sum = bias[o];
      for (std::size_t i = 0; i < in; ++i) sum += x[r * in + i] * w[i * out + o];
      y[r * out + o] = sum;
    }
  }
  return y;
}

[[nodiscard]] inline Vector normalised(const Vector& x, const Vector& gamma, const Vector& beta,
                                       double eps) {
  const std::size_t cols = gamma.size();
  Vector y(x.size());
  for (std::size_t r = 0; r < x.size() / cols; ++r) {
    double mean = 0, variance = 0;
    for (std::size_t c = 0; c < cols; ++c) mean += x[r * cols + c] / static_cast<double>(cols);
    for (std::size_t c = 0; c < cols; ++c)
      variance += std::pow(x[r * cols + c] - mean, 2) / static_cast<double>(cols);
    for (std::size_t c = 0; c < cols; ++c)
      y[r * cols + c] = (x[r * cols + c] - mean) / std::sqrt(variance + eps) * gamma[c] + beta[c];
  }
  return y;
}

[[nodiscard]] inline Vector gelu_of(Vector x) {
  for (double& v : x)
    v = 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
  return x;
}

[[nodiscard]] inline Vector attended(const Vector& qkv, const Gpt2Shape& s) {
  const std::size_t width = s.width, dim = width / s.heads;
  Vector out(s.rows() * width, 0.0);
  for (std::size_t sequence = 0; sequence < s.sequences; ++sequence) {
    for (std::size_t head = 0; head < s.heads; ++head) {
      const auto at = [&](std::size_t t, std::size_t part, std::size_t d) {
        return qkv[(sequence * s.length + t) * 3 * width + part * width + head * dim + d];
      };
      for (std::size_t t = 0; t < s.length; ++t) {
        Vector weight(t + 1);
        double total = 0;
        for (std::size_t u = 0; u <= t; ++u) {
          double score = 0;
          for (std::size_t d = 0; d < dim; ++d) score += at(t, 0, d) * at(u, 1, d);
          total += weight[u] = std::exp(score / std::sqrt(static_cast<double>(dim)));
        }
        for (std::size_t u = 0; u <= t; ++u)
          for (std::size_t d = 0; d < dim; ++d)
            out[(sequence * s.length + t) * width + head * dim + d] +=
                weight[u] / total * at(u, 2, d);
      }
    }
  }
  return out;
}

/// `keep`: what dropout multiplies the branch by, element by element; empty without dropout.
[[nodiscard]] inline Vector with_residual(const Vector& x, Vector branch, const Vector& keep) {
  for (std::size_t i = 0; i < x.size(); ++i)
    branch[i] = x[i] + branch[i] * (keep.empty() ? 1 : keep[i]);
  return branch;
}

/// t = {in, ln_gamma, ln_beta, qkv_weight, qkv_bias, proj_weight, proj_bias}.
[[nodiscard]] inline Vector attention_block(const std::vector<Vector>& t, const Gpt2Shape& s,
                                            const Vector& keep = {}) {
  const Vector qkv = product(normalised(t[0], t[1], t[2], 1e-5), t[3], t[4], s.rows());
  return with_residual(t[0], product(attended(qkv, s), t[5], t[6], s.rows()), keep);
}

/// t = {in, ln_gamma, ln_beta, fc_weight, fc_bias, proj_weight, proj_bias}.
[[nodiscard]] inline Vector mlp_block(const std::vector<Vector>& t, const Gpt2Shape& s,
                                      const Vector& keep = {}) {
  const Vector fc = product(normalised(t[0], t[1], t[2], 1e-5), t[3], t[4], s.rows());
  return with_residual(t[0], product(gelu_of(fc), t[5], t[6], s.rows()), keep);
}

/// t = {_, wte, wpe}.
[[nodiscard]] inline Vector embed_block(const std::vector<Vector>& t, const Vector& tokens,
                                        const Gpt2Shape& s) {
  Vector out(s.rows() * s.width);
  for (std::size_t r = 0; r < s.rows(); ++r)
    for (std::size_t c = 0; c < s.width; ++c)
      out[r * s.width + c] = t[1][static_cast<std::size_t>(tokens[r]) * s.width + c] +
                             t[2][r % s.length * s.width + c];
  return out;
}

/// Logits of t = {in, ln_gamma, ln_beta, wte}.
[[nodiscard]] inline Vector head_logits(const std::vector<Vector>& t, const Gpt2Shape& s) {
  const Vector x = normalised(t[0], t[1], t[2], 1e-5);
  Vector logits(s.rows() * s.vocabulary, 0.0);
  for (std::size_t r = 0; r < s.rows(); ++r)
    for (std::size_t v = 0; v < s.vocabulary; ++v)
      for (std::size_t c = 0; c < s.width; ++c)
        logits[r * s.vocabulary + v] += x[r * s.width + c] * t[3][v * s.width + c];
  return logits;
}

/// Sum of -log softmax at the labels; negative labels count nothing.
[[nodiscard]] inline double token_losses(const Vector& logits, const Vector& labels) {
  const std::size_t classes = logits.size() / labels.size();
  double sum = 0;
  for (std::size_t r = 0; r < labels.size(); ++r) {
    if (labels[r] < 0) continue;
    double total = 0;
    for (std::size_t v = 0; v < classes; ++v) total += std::exp(logits[r * classes + v]);
    sum += std::log(total) - logits[r * classes + static_cast<std::size_t>(labels[r])];
  }
  return sum;
}

[[nodiscard]] inline double dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace sherd::test

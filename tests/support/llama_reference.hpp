#pragma once
// The llama family in fp64, written from the papers' formulas with plain loops: what the blocks are
// held against.
#include <cmath>
#include <cstddef>
#include <vector>

#include "support/gpt2_reference.hpp"

namespace sherd::test {

struct LlamaShape {
  std::size_t sequences, length, heads, kv_heads, head_dim, width, ffn, vocabulary;
  double theta = 10000, eps = 1e-5;
  [[nodiscard]] std::size_t rows() const { return sequences * length; }
  [[nodiscard]] std::size_t q() const { return heads * head_dim; }
  [[nodiscard]] std::size_t kv() const { return kv_heads * head_dim; }
  [[nodiscard]] std::size_t qkv() const { return q() + 2 * kv(); }
};

/// Groups of gain.size() elements, each divided by its root mean square.
[[nodiscard]] inline Vector rms_normalised(const Vector& x, const Vector& gain, double eps) {
  const std::size_t cols = gain.size();
  Vector y(x.size());
  for (std::size_t r = 0; r < x.size() / cols; ++r) {
    double square = 0;
    for (std::size_t c = 0; c < cols; ++c) square += x[r * cols + c] * x[r * cols + c];
    const double root = std::sqrt(square / static_cast<double>(cols) + eps);
    for (std::size_t c = 0; c < cols; ++c) y[r * cols + c] = x[r * cols + c] / root * gain[c];
  }
  return y;
}

/// x·w, w of `out` columns.
[[nodiscard]] inline Vector times(const Vector& x, const Vector& w, std::size_t rows,
                                  std::size_t out) {
  return product(x, w, Vector(out, 0.0), rows);
}

/// One head of one row, as the complex numbers (x[i], x[i + dim/2]) turned by their angles.
inline void turn_head(double* x, std::size_t position, const LlamaShape& s) {
  const std::size_t half = s.head_dim / 2;
  for (std::size_t i = 0; i < half; ++i) {
    const double angle =
        static_cast<double>(position) *
        std::pow(s.theta, -2.0 * static_cast<double>(i) / static_cast<double>(s.head_dim));
    const double re = x[i], im = x[i + half];
    x[i] = re * std::cos(angle) - im * std::sin(angle);
    x[i + half] = re * std::sin(angle) + im * std::cos(angle);
  }
}

/// Norms (where there are gains) and turns the heads of q and k.
[[nodiscard]] inline Vector turned(Vector qkv, const LlamaShape& s, const Vector& q_gain,
                                   const Vector& k_gain) {
  for (std::size_t r = 0; r < s.rows(); ++r) {
    for (std::size_t h = 0; h < s.heads + s.kv_heads; ++h) {
      double* head = &qkv[r * s.qkv() + h * s.head_dim];
      if (!q_gain.empty()) {
        const Vector normed =
            rms_normalised(Vector(head, head + s.head_dim), h < s.heads ? q_gain : k_gain, s.eps);
        std::copy(normed.begin(), normed.end(), head);
      }
      turn_head(head, r % s.length, s);
    }
  }
  return qkv;
}

[[nodiscard]] inline Vector grouped_attended(const Vector& qkv, const LlamaShape& s) {
  Vector out(s.rows() * s.q(), 0.0);
  const std::size_t dim = s.head_dim, group = s.heads / s.kv_heads;
  for (std::size_t r = 0; r < s.rows(); ++r) {
    const std::size_t first = r - r % s.length;
    for (std::size_t h = 0; h < s.heads; ++h) {
      const double* q = &qkv[r * s.qkv() + h * dim];
      const std::size_t k_at = s.q() + h / group * dim, v_at = k_at + s.kv();
      Vector weight(r - first + 1);
      double total = 0;
      for (std::size_t u = first; u <= r; ++u) {
        double score = 0;
        for (std::size_t d = 0; d < dim; ++d) score += q[d] * qkv[u * s.qkv() + k_at + d];
        total += weight[u - first] = std::exp(score / std::sqrt(static_cast<double>(dim)));
      }
      for (std::size_t u = first; u <= r; ++u)
        for (std::size_t d = 0; d < dim; ++d)
          out[r * s.q() + h * dim + d] += weight[u - first] / total * qkv[u * s.qkv() + v_at + d];
    }
  }
  return out;
}

/// t = {in, norm_gain, qkv_weight, proj_weight, and either qkv_bias or q_gain, k_gain}.
[[nodiscard]] inline Vector llama_attention_block(const std::vector<Vector>& t,
                                                  const LlamaShape& s) {
  const Vector bias = t.size() == 5 ? t[4] : Vector(s.qkv(), 0.0);
  const bool norms = t.size() == 6;
  const Vector qkv = product(rms_normalised(t[0], t[1], s.eps), t[2], bias, s.rows());
  const Vector heads = turned(qkv, s, norms ? t[4] : Vector{}, norms ? t[5] : Vector{});
  return with_residual(t[0], times(grouped_attended(heads, s), t[3], s.rows(), s.width), {});
}

/// t = {in, norm_gain, gate_up_weight, down_weight}.
[[nodiscard]] inline Vector llama_mlp_block(const std::vector<Vector>& t, const LlamaShape& s) {
  const Vector gate_up = times(rms_normalised(t[0], t[1], s.eps), t[2], s.rows(), 2 * s.ffn);
  Vector hidden(s.rows() * s.ffn);
  for (std::size_t r = 0; r < s.rows(); ++r) {
    for (std::size_t c = 0; c < s.ffn; ++c) {
      const double gate = gate_up[r * 2 * s.ffn + c];
      hidden[r * s.ffn + c] = gate / (1 + std::exp(-gate)) * gate_up[r * 2 * s.ffn + s.ffn + c];
    }
  }
  return with_residual(t[0], times(hidden, t[3], s.rows(), s.width), {});
}

/// Logits of t = {in, norm_gain, table}.
[[nodiscard]] inline Vector rms_head_logits(const std::vector<Vector>& t, double eps) {
  const Vector x = rms_normalised(t[0], t[1], eps);
  const std::size_t width = t[1].size(), vocabulary = t[2].size() / width, rows = x.size() / width;
  Vector logits(rows * vocabulary, 0.0);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t v = 0; v < vocabulary; ++v)
      for (std::size_t c = 0; c < width; ++c)
        logits[r * vocabulary + v] += x[r * width + c] * t[2][v * width + c];
  return logits;
}

}  // namespace sherd::test

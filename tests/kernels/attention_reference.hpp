#pragma once
// Attention and its gradient from the definition, to compare implementations with.
#include <algorithm>
#include <cmath>
#include <vector>

#include "sherd/kernels/attention.hpp"

namespace sherd::test {

using Matrix = std::vector<double>;  // row-major, the columns are known from the shape

/// Attention with the whole score matrix, in fp64, straight from the definition.
struct AttentionReference {
  kernels::AttentionShape shape;
  Matrix qkv;

  /// Part 0, 1, 2: q, k, v. `col` is the query head's, whose group shares k and v.
  [[nodiscard]] std::size_t place(int which, std::int64_t row, std::int64_t col) const {
    const std::int64_t head = col / shape.head_dim, shared = head / shape.group();
    const std::int64_t begin = which == 0 ? col
                                          : shape.width() + (which - 1) * shape.kv_width() +
                                                shared * shape.head_dim + col % shape.head_dim;
    return static_cast<std::size_t>(row * shape.qkv_width() + begin);
  }
  [[nodiscard]] double part(int which, std::int64_t row, std::int64_t col) const {
    return qkv[place(which, row, col)];
  }
  [[nodiscard]] double score(std::int64_t query, std::int64_t key, std::int64_t col) const {
    double sum = 0;
    for (std::int64_t c = 0; c < shape.head_dim; ++c) {
      sum += part(0, query, col + c) * part(1, key, col + c);
    }
    return sum / std::sqrt(static_cast<double>(shape.head_dim));
  }
  /// Weights of one query over the keys from the start of its sequence to itself; returns lse.
  double weights(std::int64_t first, std::int64_t query, std::int64_t col, Matrix& p) const {
    p.clear();
    for (std::int64_t key = first; key <= query; ++key) p.push_back(score(query, key, col));
    const double most = *std::max_element(p.begin(), p.end());
    double sum = 0;
    for (double& x : p) sum += x = std::exp(x - most);
    for (double& x : p) x /= sum;
    return most + std::log(sum);
  }
  template <class Visit>  // visit(first row of the sequence, query row, column of the head, lse
                          // row)
  void each(Visit visit) const {
    for (std::int64_t s = 0; s < shape.sequences; ++s) {
      for (std::int64_t h = 0; h < shape.heads; ++h) {
        for (std::int64_t i = 0; i < shape.length; ++i) {
          visit(s * shape.length, s * shape.length + i, h * shape.head_dim, s * shape.heads + h);
        }
      }
    }
  }
  void forward(Matrix& out, Matrix& lse) const {
    out.assign(static_cast<std::size_t>(shape.sequences * shape.length * shape.width()), 0);
    lse.assign(static_cast<std::size_t>(shape.sequences * shape.heads * shape.length), 0);
    Matrix p;
    each([&](std::int64_t first, std::int64_t row, std::int64_t col, std::int64_t head) {
      const double sum = weights(first, row, col, p);
      lse[static_cast<std::size_t>(head * shape.length + row - first)] = sum;
      for (std::int64_t key = first; key <= row; ++key) {
        for (std::int64_t c = 0; c < shape.head_dim; ++c) {
          out[static_cast<std::size_t>(row * shape.width() + col + c)] +=
              p[static_cast<std::size_t>(key - first)] * part(2, key, col + c);
        }
      }
    });
  }
  [[nodiscard]] Matrix backward(const Matrix& d_out) const {
    Matrix d_qkv(qkv.size(), 0), p;
    const double scale = 1 / std::sqrt(static_cast<double>(shape.head_dim));
    const auto at = [&](int which, std::int64_t row, std::int64_t col) -> double& {
      return d_qkv[place(which, row, col)];
    };
    each([&](std::int64_t first, std::int64_t row, std::int64_t col, std::int64_t) {
      weights(first, row, col, p);
      const double* d_row = d_out.data() + row * shape.width() + col;
      Matrix d_p(p.size(), 0);
      double mean = 0;
      for (std::int64_t key = first; key <= row; ++key) {
        const auto j = static_cast<std::size_t>(key - first);
        for (std::int64_t c = 0; c < shape.head_dim; ++c) {
          d_p[j] += d_row[c] * part(2, key, col + c);
          at(2, key, col + c) += p[j] * d_row[c];
        }
        mean += p[j] * d_p[j];
      }
      for (std::int64_t key = first; key <= row; ++key) {
        const auto j = static_cast<std::size_t>(key - first);
        const double d_score = p[j] * (d_p[j] - mean) * scale;
        for (std::int64_t c = 0; c < shape.head_dim; ++c) {
          at(0, row, col + c) += d_score * part(1, key, col + c);
          at(1, key, col + c) += d_score * part(0, row, col + c);
        }
      }
    });
    return d_qkv;
  }
};

}  // namespace sherd::test

#pragma once
// The norm of heads and their rotation from the definition in fp64, to compare implementations
// with.
#include <cmath>
#include <vector>

#include "kernels/array.hpp"
#include "sherd/kernels/rotary.hpp"

namespace sherd::test {

/// Radians a position, by wavelengths, as transformers writes it.
inline double frequency_reference(const kernels::Rotary& r, std::int64_t head_dim, std::int64_t i) {
  const double inv = 1 / std::pow(r.theta, double(2 * i) / double(head_dim));
  if (r.scaling == kernels::RotaryScaling::none) return inv;
  if (r.scaling == kernels::RotaryScaling::linear) return inv / r.factor;
  const double wavelength = 2 * M_PI / inv;
  if (wavelength < r.original_context / r.high_freq_factor) return inv;
  if (wavelength > r.original_context / r.low_freq_factor) return inv / r.factor;
  const double smooth = (r.original_context / wavelength - r.low_freq_factor) /
                        (r.high_freq_factor - r.low_freq_factor);
  return (1 - smooth) * inv / r.factor + smooth * inv;
}

/// Vectors of one head.
using Head = std::vector<double>;

struct RotaryReference {
  kernels::AttentionShape shape;
  kernels::Rotary rotary;
  std::int64_t first_position = 0;
  double eps = 1e-6;

  [[nodiscard]] std::int64_t turning() const { return shape.heads + shape.key_heads(); }
  [[nodiscard]] std::int64_t place(std::int64_t row, std::int64_t head) const {
    return row * shape.qkv_width() + head * shape.head_dim;
  }
  [[nodiscard]] Head head(const Array& rows, std::int64_t row, std::int64_t index) const {
    Head x;
    for (std::int64_t i = 0; i < shape.head_dim; ++i) x.push_back(rows[place(row, index) + i]);
    return x;
  }
  [[nodiscard]] double rstd(const Head& x) const {
    double squares = 0;
    for (const double v : x) squares += v * v / double(x.size());
    return 1 / std::sqrt(squares + eps);
  }
  /// (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin), the other way round where `way` is -1.
  [[nodiscard]] Head turned(const Head& x, std::int64_t row, double way = 1) const {
    const std::size_t half = x.size() / 2;
    const auto position = double(first_position + row % shape.length);
    Head y(x.size());
    for (std::size_t i = 0; i < half; ++i) {
      const double angle =
          way * position *
          frequency_reference(rotary, shape.head_dim, static_cast<std::int64_t>(i));
      y[i] = x[i] * std::cos(angle) - x[i + half] * std::sin(angle);
      y[i + half] = x[i + half] * std::cos(angle) + x[i] * std::sin(angle);
    }
    return y;
  }
  [[nodiscard]] Head normed(const Head& x, const Array* gain) const {
    if (gain == nullptr) return x;
    Head y = x;
    for (std::size_t i = 0; i < x.size(); ++i)
      y[i] = x[i] * rstd(x) * (*gain)[static_cast<std::int64_t>(i)];
    return y;
  }
  /// The gradient of x where `slope` is that of normed(x): column by column of the Jacobian, each a
  /// central difference.
  [[nodiscard]] Head norm_back(const Head& x, const Array* gain, const Head& slope) const {
    if (gain == nullptr) return slope;
    constexpr double step = 1e-4;
    Head d_x(x.size()), moved = x;
    for (std::size_t i = 0; i < x.size(); ++i) {
      moved[i] = x[i] + step;
      const Head above = normed(moved, gain);
      moved[i] = x[i] - step;
      const Head below = normed(moved, gain);
      moved[i] = x[i];
      for (std::size_t j = 0; j < x.size(); ++j)
        d_x[i] += slope[j] * (above[j] - below[j]) / (2 * step);
    }
    return d_x;
  }
};

}  // namespace sherd::test

#pragma once
// An optimizer's state in any combination of formats, filled from and read back as fp64 by rules of
// its own: the published 8-bit map, and bit patterns.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/array.hpp"
#include "sherd/kernels/update.hpp"

namespace sherd::test {

/// bitsandbytes' `create_dynamic_map`, sorted: linspace(0.1, 1) of each decade, centres of its
/// cells, 0 and 1.
inline std::vector<double> published_map(bool is_signed) {
  std::vector<double> map = {0, 1};
  for (int i = 0; i < 7; ++i) {
    const int cells = (is_signed ? 1 : 2) << i;
    for (int j = 0; j < cells; ++j) {
      const double low = 0.1 + 0.9 * j / cells, high = 0.1 + 0.9 * (j + 1) / cells;
      map.push_back(std::pow(10.0, i - 6) * (low + high) / 2);
      if (is_signed) map.push_back(-map.back());
    }
  }
  std::sort(map.begin(), map.end());
  return map;
}
inline const std::vector<double>& published(bool is_signed) {
  static const std::vector<double> maps[] = {published_map(false), published_map(true)};
  return maps[is_signed ? 1 : 0];
}
/// Where a code stands in the published order.
inline std::size_t position_of(std::uint8_t code, bool is_signed) {
  return is_signed ? (code + 127u) % 256 : code;
}

/// Numbers in a format, guard bytes behind them.
class Cells {
 public:
  Cells() = default;
  Cells(std::int64_t n, DType type, bool is_signed,
        const std::function<double(std::int64_t)>& value)
      : n_(n), type_(type), signed_(is_signed) {
    bytes_.assign(bytes_of(type, static_cast<std::uint64_t>(n)) + guard, std::byte{0xa5});
    if (type == DType::q8) {
      for (std::int64_t b = 0; b < n / 256; ++b) put_block(b, value);
      return;
    }
    for (std::int64_t i = 0; i < n; ++i) {
      const auto x = static_cast<float>(value(i));
      if (type == DType::f32) put(static_cast<std::size_t>(i) * 4, x);
      if (type == DType::bf16) put(static_cast<std::size_t>(i) * 2, to_bfloat16(x));
      if (type == DType::f16) put(static_cast<std::size_t>(i) * 2, to_float16(x));
    }
  }

  /// Elements [first, first + count); of q8, whole blocks.
  [[nodiscard]] View view(std::int64_t first, std::int64_t count) {
    if (bytes_.empty()) return {};
    return {bytes_.data() + bytes_of(type_, static_cast<std::uint64_t>(first)), {1, count}, type_};
  }
  [[nodiscard]] double operator[](std::int64_t i) const {
    const auto at = static_cast<std::size_t>(i);
    if (type_ == DType::f32) return static_cast<double>(take<float>(at * 4));
    if (type_ == DType::bf16) return static_cast<double>(to_float(take<bfloat16>(at * 2)));
    if (type_ == DType::f16) return static_cast<double>(to_float(take<float16>(at * 2)));
    const auto code = take<std::uint8_t>(at / 256 * 260 + at % 256);
    return published(signed_)[position_of(code, signed_)] * scale(i / 256);
  }
  [[nodiscard]] double scale(std::int64_t block) const {
    return static_cast<double>(take<float>(static_cast<std::size_t>(block) * 260 + 256));
  }
  template <class T>
  [[nodiscard]] T raw(std::int64_t i) const {
    return take<T>(static_cast<std::size_t>(i) * sizeof(T));
  }
  template <class T>
  void set_raw(std::int64_t i, T value) {
    put(static_cast<std::size_t>(i) * sizeof(T), value);
  }
  [[nodiscard]] DType type() const { return type_; }
  [[nodiscard]] bool is_signed() const { return signed_; }
  [[nodiscard]] std::int64_t numel() const { return n_; }
  [[nodiscard]] bool guarded() const {
    return bytes_.empty() || std::all_of(bytes_.end() - guard, bytes_.end(),
                                         [](std::byte b) { return b == std::byte{0xa5}; });
  }
  bool operator==(const Cells&) const = default;

 private:
  static constexpr std::int64_t guard = 64;
  template <class T>
  [[nodiscard]] T take(std::size_t at) const {
    T value;
    std::memcpy(&value, bytes_.data() + at, sizeof(T));
    return value;
  }
  template <class T>
  void put(std::size_t at, T value) {
    std::memcpy(bytes_.data() + at, &value, sizeof(T));
  }
  void put_block(std::int64_t block, const std::function<double(std::int64_t)>& value) {
    float most = 0;
    for (std::int64_t i = 0; i < 256; ++i)
      most = std::max(most, static_cast<float>(std::abs(value(block * 256 + i))));
    const std::vector<double>& map = published(signed_);
    for (std::int64_t i = 0; i < 256; ++i) {
      const double x = most > 0 ? value(block * 256 + i) / static_cast<double>(most) : 0;
      std::size_t best = 0;
      for (std::size_t k = 1; k < map.size(); ++k) {
        if (std::abs(map[k] - x) < std::abs(map[best] - x)) best = k;
      }
      const auto code = static_cast<std::uint8_t>(signed_ ? best + 129 : best);
      put(static_cast<std::size_t>(block * 260 + i), code);
    }
    put(static_cast<std::size_t>(block * 260 + 256), most);
  }

  std::int64_t n_ = 0;
  DType type_ = DType::f32;
  bool signed_ = true;
  std::vector<std::byte> bytes_;
};

enum class Rule : std::uint8_t { adamw, lion, sgd };
inline constexpr Rule rules[] = {Rule::adamw, Rule::lion, Rule::sgd};

struct Formats {
  DType grad = DType::f32, moments = DType::f32;
  bool split = false;
};
inline std::vector<Formats> all_formats() {
  std::vector<Formats> all;
  for (const DType grad : {DType::f32, DType::bf16}) {
    for (const DType moments : {DType::f32, DType::bf16, DType::q8}) {
      for (const bool split : {false, true}) all.push_back({grad, moments, split});
    }
  }
  return all;
}

/// Gradient, master, moments and a bf16 parameter.
struct UpdateState {
  using Value = std::function<double(std::int64_t)>;
  UpdateState(Rule kind, std::int64_t n, const Formats& formats, const Value& value = noise(1))
      : rule(kind),
        grad(n, formats.grad, true, noise(2, 3)),
        master(n, formats.split ? DType::u16 : DType::f32, true, value),
        m(n, formats.moments, true, noise(3, 0.1)),
        v(rule == Rule::adamw ? Cells(n, formats.moments, false, second) : Cells()),
        param(n, DType::bf16, true, value) {
    for (std::int64_t i = 0; i < n; ++i) {
      const auto x = static_cast<float>(value(i));
      if (!formats.split) continue;
      param.set_raw(i, to_stored_bfloat16(x));
      master.set_raw(i, remainder_of(x));
    }
  }
  static double second(std::int64_t i) { return std::abs(noise(4, 0.1)(i)); }

  /// Of elements [first, first + count), whole blocks where moments are q8.
  [[nodiscard]] kernels::UpdateArgs args(const kernels::UpdateScalars& s, std::int64_t first,
                                         std::int64_t count) {
    return {.grad = grad.view(first, count),
            .master = master.view(first, count),
            .m = m.view(first, count),
            .v = v.view(first, count),
            .param = param.view(first, count),
            .round = {5, 6},
            .first = 1000 + static_cast<std::uint64_t>(first),
            .weight_decay = 0.1f,
            .scalars = &s};
  }
  void update(const kernels::UpdateScalars& s, StreamRef stream, std::int64_t first = 0,
              std::int64_t count = -1) {
    const kernels::UpdateArgs given = args(s, first, count < 0 ? grad.numel() : count);
    if (rule == Rule::adamw) kernels::adamw(given, stream);
    if (rule == Rule::lion) kernels::lion(given, stream);
    if (rule == Rule::sgd) kernels::sgd(given, stream);
  }
  [[nodiscard]] float weight(std::int64_t i) const {
    if (master.type() == DType::f32) return master.raw<float>(i);
    return joined(param.raw<bfloat16>(i), master.raw<std::uint16_t>(i));
  }
  [[nodiscard]] bool guarded() const {
    return master.guarded() && m.guarded() && v.guarded() && param.guarded();
  }
  bool operator==(const UpdateState&) const = default;

  Rule rule;
  Cells grad, master, m, v, param;
};

inline kernels::UpdateScalars scalars_at(int step, float lr) {
  return {.factor = 0.25f,
          .lr = lr,
          .bias1 = 1 - std::pow(static_cast<double>(0.9f), step),
          .bias2 = 1 - std::pow(static_cast<double>(0.999f), step),
          .skip = 0,
          .applied = static_cast<std::uint64_t>(step - 1)};
}

}  // namespace sherd::test

#pragma once
// How the contract of Communicator is tried on any implementation: bodies run on every rank and
// throw when they see something wrong.
#include <doctest/doctest.h>

#include <chrono>
#include <cmath>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "sherd/base/errors.hpp"
#include "sherd/comm/communicator.hpp"
#include "sherd/comm/control_block.hpp"

namespace conformance {

using namespace sherd;
using comm::Communicator;

/// What an implementation may refuse; a case then checks that it does.
struct Abilities {
  bool left_order = true;       // FoldOrder::left
  bool random_rounding = true;  // of bf16 sums
  bool one_rounding = true;     // of bf16 sums; otherwise each addition may round
};

/// One rank's view of a trial; every rank takes the same memory at the same offsets.
struct Seat {
  Communicator& comm;
  std::span<std::byte> arena;
  comm::ControlBlock& control;
  Abilities able{};
  Bytes used = 0;

  View take(DType type, std::int64_t numel) {
    const View view{arena.data() + used, {1, numel}, type};
    used = round_up(used + view.bytes(), 64);
    if (used > arena.size()) throw std::logic_error("the trial's arena is too small");
    return view;
  }
};
struct Trial {
  int world = 1;
  Bytes arena = mib;
  std::chrono::nanoseconds timeout = std::chrono::seconds(60);
};
using Body = std::function<void(Seat&)>;

/// Runs `body` on every rank; what each threw, by rank, empty for nothing.
std::vector<std::string> run_ranks(const Trial& trial, const Body& body);

inline const int worlds[] = {1, 2, 3, 4, 5, 7};

inline void all_pass(const Trial& trial, const Body& body) {
  const std::vector<std::string> thrown = run_ranks(trial, body);
  for (std::size_t rank = 0; rank < thrown.size(); ++rank) {
    INFO("world " << trial.world << ", rank " << rank);
    CHECK(thrown[rank] == "");
  }
}
inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}
inline void require(bool holds, const std::string& what) {
  if (!holds) throw std::logic_error(what);
}

inline void refuses(const std::function<void()>& call) {
  try {
    call();
  } catch (const UsageError&) {
    return;
  }
  throw std::logic_error("no UsageError");
}

inline double at(View view, std::int64_t i) {
  switch (view.type) {
    case DType::f32:
      return static_cast<double>(view.as<float>()[i]);
    case DType::bf16:
      return static_cast<double>(to_float(view.as<bfloat16>()[i]));
    case DType::i64:
      return static_cast<double>(view.as<std::int64_t>()[i]);
    default:
      return static_cast<double>(std::to_integer<int>(view.data[i]));
  }
}
inline void put(View view, std::int64_t i, double value) {
  switch (view.type) {
    case DType::f32:
      view.as<float>()[i] = static_cast<float>(value);
      break;
    case DType::bf16:
      view.as<bfloat16>()[i] = to_bfloat16(static_cast<float>(value));
      break;
    case DType::i64:
      view.as<std::int64_t>()[i] = static_cast<std::int64_t>(value);
      break;
    default:
      view.data[i] = static_cast<std::byte>(value);
  }
}
using Formula = std::function<double(std::int64_t)>;
inline void fill(View view, const Formula& value) {
  for (std::int64_t i = 0; i < view.numel(); ++i) put(view, i, value(i));
}
inline void expect(View view, const Formula& value, const std::string& what) {
  for (std::int64_t i = 0; i < view.numel(); ++i) {
    if (at(view, i) == value(i)) continue;  // the message costs more than the comparison
    throw std::logic_error(what + ": element " + std::to_string(i) + " is " +
                           std::to_string(at(view, i)) + ", not " + std::to_string(value(i)));
  }
}

inline void expect_near(View view, const Formula& value, double relative, const std::string& what) {
  for (std::int64_t i = 0; i < view.numel(); ++i) {
    if (std::abs(at(view, i) - value(i)) <= relative * std::abs(value(i))) continue;
    throw std::logic_error(what + ": element " + std::to_string(i) + " is " +
                           std::to_string(at(view, i)) + ", not near " + std::to_string(value(i)));
  }
}

/// Element i of rank r: all different over ranks and elements; small enough that sums are exact.
/// 16-bit and 8-bit types repeat with period 127, which no size here is a multiple of.
inline double value(Rank r, std::int64_t i, int world, DType type) {
  const auto plain = static_cast<double>(i * world + r + 1);
  if (type == DType::f32 || type == DType::i64) return plain;
  return static_cast<double>((i * world + r) % 127 + 1);
}
/// The sum of value(r, i) over all ranks, as `type` holds it.
inline double total(std::int64_t i, int world, DType type) {
  double sum = 0;
  if (type == DType::f32 || type == DType::i64) {  // i·W² + W(W + 1)/2
    return static_cast<double>(i * world * world + world * (world + 1) / 2);
  }
  for (Rank r = 0; r < world; ++r) sum += value(r, i, world, type);
  return static_cast<double>(to_float(to_bfloat16(static_cast<float>(sum))));
}

}  // namespace conformance

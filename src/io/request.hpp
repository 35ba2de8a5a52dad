#pragma once
// A request to the system and what its answers mean: the same for every engine.
#include <cstddef>

#include "io/system_calls.hpp"
#include "sherd/io/record_file.hpp"

namespace sherd::io {

/// One call of a Transfer. Parts count from its begin.
struct Job {
  Direction direction = Direction::read;
  Bytes offset = 0;
  std::byte* data = nullptr;
  std::size_t bytes = 0;
  Passing* passing = nullptr;

  [[nodiscard]] std::size_t parts() const { return ceil_div(bytes, transfer_part); }
  /// The part that is taken `turn`-th: of a write the first one is last.
  [[nodiscard]] std::size_t part_at(std::size_t turn) const {
    return direction == Direction::write ? parts() - 1 - turn : turn;
  }
  void pass(std::size_t part) const {
    if (passing != nullptr) passing->part(part);
  }
};

/// **Errors** UsageError unless all of it is in whole blocks.
[[nodiscard]] Job reading(Bytes offset, std::span<std::byte> into, Passing* passing);
[[nodiscard]] Job writing(Bytes offset, std::span<const std::byte> from, Passing* passing);

/// What is left to be done of a part.
struct Request {
  std::byte* data = nullptr;
  Bytes offset = 0;
  std::size_t bytes = 0;
  std::size_t part = 0;
  int tries = 0;  // in a row that brought nothing
};
[[nodiscard]] Request request_of(const Job& job, std::size_t part);

/// `error` is an errno, or 0 when the system moved less than was asked for and does not go on.
struct Failure {
  Direction direction = Direction::read;
  Bytes offset = 0;
  std::size_t bytes = 0;
  int error = 0;
};
[[nodiscard]] Failure failure_of(Direction direction, const Request& request, int answer);

enum class Progress : std::uint8_t { done, again, failed };
/// Takes what the system has done off the request.
[[nodiscard]] Progress advance(Request& request, int answer);

/// **Errors** DeviceError: "cannot be read at byte 4096 (Input/output error)".
[[noreturn]] void throw_failure(const Failure& failure);

}  // namespace sherd::io

#pragma once
// A system that answers as a test wants it to; what a test leaves out is the system's own.
#include <atomic>
#include <cerrno>
#include <functional>
#include <optional>

#include "io/system_calls.hpp"

namespace sherd::test {

struct FaultySystem final : io::SystemCalls {
  std::function<std::size_t(io::Direction, Bytes, std::size_t)> grant;
  std::function<int(io::Direction, Bytes, int)> answer;
  std::function<int(int)> enter;
  std::optional<int> unnamed, bypass, uring, reserved;
  std::optional<Bytes> free;
  std::optional<std::int64_t> magic;

  int open_unnamed(const char* folder) override {
    return unnamed ? *unnamed : SystemCalls::open_unnamed(folder);
  }
  int bypass_cache(int file) override { return bypass ? *bypass : SystemCalls::bypass_cache(file); }
  int reserve(int file, Bytes size) override {
    return reserved ? *reserved : SystemCalls::reserve(file, size);
  }
  Bytes room(int file) override { return free ? *free : SystemCalls::room(file); }
  std::int64_t kind(const char* folder) override {
    return magic ? *magic : SystemCalls::kind(folder);
  }
  int allow_uring() override { return uring.value_or(0); }
  std::size_t granted(io::Direction direction, Bytes offset, std::size_t bytes) override {
    return grant ? grant(direction, offset, bytes) : bytes;
  }
  int answered(io::Direction direction, Bytes offset, int said) override {
    return answer ? answer(direction, offset, said) : said;
  }
  int entered(int said) override { return enter ? enter(said) : said; }
};

}  // namespace sherd::test

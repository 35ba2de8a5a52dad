#pragma once
// Counts what a program allocates. For the one source file of a test: it replaces operator new.
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace sherd::test {

inline std::atomic<std::int64_t> allocated{0};
[[nodiscard]] inline std::int64_t allocations() { return allocated; }

}  // namespace sherd::test

// Inlined, g++ takes malloc and delete for a mismatch.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++sherd::test::allocated;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

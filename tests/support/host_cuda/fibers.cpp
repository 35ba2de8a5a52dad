#include <ucontext.h>

#include <array>
#include <vector>

#include "support/host_cuda/device.hpp"

namespace sherd::test {
namespace {

constexpr unsigned most_threads = 1024, warp = 32, lanes = 8;
constexpr std::size_t stack_bytes = 65536;

/// Where a number of fibers wait for each other; those that end no longer count.
struct Fence {
  unsigned expected = 0, arrived = 0, turn = 0;

  void open() {
    arrived = 0;
    ++turn;
  }
  void leave() {
    if (--expected == arrived && expected > 0) open();
  }
};

struct Fiber {
  ucontext_t context;
  std::vector<char> stack;
  std::array<std::byte, 8> slot{};
  bool ended = false;
};

std::vector<Fiber> fibers(most_threads);
std::array<Fence, most_threads / warp> warps;
std::array<Fence, most_threads / lanes> groups;
Fence block;
ucontext_t scheduler;
unsigned current = 0;
std::function<void()> kernel;

void become(unsigned thread) {
  current = thread;
  threadIdx = dim3(thread % blockDim.x, thread / blockDim.x, 0);
}
void meet(Fence& fence) {
  const unsigned turn = fence.turn, thread = current;
  if (++fence.arrived == fence.expected) return fence.open();
  while (fence.turn == turn) {
    swapcontext(&fibers[thread].context, &scheduler);
    become(thread);
  }
}
void run_fiber() {
  const unsigned thread = current;
  kernel();
  block.leave();
  warps[thread / warp].leave();
  groups[thread / lanes].leave();
  fibers[thread].ended = true;
  swapcontext(&fibers[thread].context, &scheduler);
}
void start(unsigned thread) {
  Fiber& fiber = fibers[thread];
  fiber.stack.resize(stack_bytes);
  fiber.ended = false;
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.data();
  fiber.context.uc_stack.ss_size = fiber.stack.size();
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, run_fiber, 0);
}
void run_block(unsigned count) {
  block = {.expected = count};
  warps.fill({.expected = warp});
  groups.fill({.expected = lanes});
  for (unsigned thread = 0; thread < count; ++thread) start(thread);
  for (unsigned left = count; left > 0;) {
    for (unsigned thread = 0; thread < count; ++thread) {
      if (fibers[thread].ended) continue;
      become(thread);
      swapcontext(&scheduler, &fibers[thread].context);
      if (fibers[thread].ended) --left;
    }
  }
}

}  // namespace

void run_blocks(dim3 blocks, dim3 threads, std::function<void()> body) {
  kernel = std::move(body);
  gridDim = blocks;
  blockDim = threads;
  for (unsigned y = 0; y < blocks.y; ++y) {
    for (unsigned x = 0; x < blocks.x; ++x) {
      blockIdx = dim3(x, y, 0);
      run_block(threads.x * threads.y);
    }
  }
}
void meet_block() { meet(block); }
void meet_lanes(bool whole_warp) {
  meet(whole_warp ? warps[current / warp] : groups[current / lanes]);
}
unsigned this_thread() { return current; }
std::byte* slot_of(unsigned thread) { return fibers[thread].slot.data(); }

}  // namespace sherd::test

#include "support/emulator/queue.hpp"

#include <chrono>
#include <cstdlib>
#include <exception>
#include <utility>

#include "sherd/base/errors.hpp"

namespace sherd::emulator {
namespace {

std::string variable(const char* name) {
  const char* text = std::getenv(name);
  return text == nullptr ? "" : text;
}

void dawdle(std::minstd_rand& random) {
  switch (random() % 8) {
    case 0:
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 200));
      break;
    case 1:
    case 2:
    case 3:
      std::this_thread::yield();
      break;
    default:
      break;
  }
}

}  // namespace

Settings settings() {
  Settings all;
  if (const std::string text = variable("SHERD_EMULATED_DEVICES"); !text.empty())
    all.devices = std::stoi(text);
  if (const std::string text = variable("SHERD_EMULATED_MEMORY"); !text.empty()) {
    const std::optional<Bytes> bytes = parse_bytes(text);
    if (!bytes) throw DeviceError("emulated: SHERD_EMULATED_MEMORY is no size: " + text);
    all.memory = *bytes;
  }
  if (const std::string text = variable("SHERD_EMULATED_FAIL"); text.starts_with("launch:"))
    all.failing_kernel = std::stoll(text.substr(7));
  all.records = variable("SHERD_EMULATED_FAIL") != "recording";
  if (const std::string text = variable("SHERD_EMULATED_JITTER"); !text.empty())
    all.jitter = std::stoull(text);
  return all;
}

void Health::fail(const std::string& why) {
  const std::scoped_lock lock(mutex_);
  if (why_.empty()) why_ = why;
}
void Health::check() const {
  const std::scoped_lock lock(mutex_);
  if (!why_.empty()) throw DeviceError("emulated: " + why_);
}
bool Health::failed() const {
  const std::scoped_lock lock(mutex_);
  return !why_.empty();
}
void Health::count_kernel() {
  const std::scoped_lock lock(mutex_);
  if (++kernels_ == failing_kernel_ && why_.empty())
    why_ = "kernel " + std::to_string(kernels_) + " failed, as asked";
}

std::byte* Hands::room(Bytes size) {
  auto& bytes = rooms.emplace_back(size + 64);
  const auto at = reinterpret_cast<std::uintptr_t>(bytes.data());
  return bytes.data() + (round_up(at, 64) - at);
}

std::uint64_t Count::issue() {
  const std::scoped_lock lock(mutex);
  return ++issued;
}
void Count::finish(std::uint64_t number) {
  const std::scoped_lock lock(mutex);
  done = std::max(done, number);
  moved.notify_all();
}
void Count::await(std::uint64_t number) {
  std::unique_lock lock(mutex);
  moved.wait(lock, [&] { return done >= number; });
}

}  // namespace sherd::emulator

namespace sherd::device {

Queue::Queue(emulator::Device& on) : device(on), thread_([this] { serve(); }) {}

Queue::~Queue() {
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
    filled_.notify_one();
  }
  thread_.join();
}

void Queue::serve() {
  emulator::Hands hands;
  std::minstd_rand random(static_cast<std::minstd_rand::result_type>(device.settings.jitter));
  for (;;) {
    emulator::Work next;
    {
      std::unique_lock lock(mutex_);
      filled_.wait(lock, [&] { return stop_ || !work_.empty(); });
      if (work_.empty()) return;
      next = std::move(work_.front());
      work_.pop_front();
    }
    if (device.settings.jitter != 0) emulator::dawdle(random);
    next(hands);
    hands.rooms.clear();
  }
}

void Queue::push(emulator::Work work) {
  const std::scoped_lock lock(mutex_);
  work_.push_back(std::move(work));
  filled_.notify_one();
}

void Queue::add(emulator::Node node) {
  node.after = std::exchange(after, {recording->nodes.size()});
  recording->nodes.push_back(std::move(node));
}

void Queue::put(emulator::Work work) {
  // Of a failed device nothing runs, and no exception leaves a queue's thread.
  auto guarded = [&on = device, work = std::move(work)](emulator::Hands& hands) {
    if (on.health.failed()) return;
    try {
      work(hands);
    } catch (const std::exception& error) {
      on.health.fail(error.what());
    }
  };
  device.health.check();
  const std::scoped_lock lock(device.mutex);
  if (recording) return add({std::move(guarded), {}});
  push(std::move(guarded));
}

void Queue::put_kernel(emulator::Work work) {
  put([&on = device, work = std::move(work)](emulator::Hands& hands) {
    on.health.count_kernel();
    if (!on.health.failed()) work(hands);
  });
}

void Queue::drain() {
  const auto end = std::make_shared<emulator::Count>();
  end->issue();
  push([end](emulator::Hands&) { end->finish(1); });
  end->await(1);
}

}  // namespace sherd::device

// A checkpoint's file, written and read with all its checks.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <thread>
#include <utility>

#include "bench/checkpoint_rows.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/base/philox.hpp"
#include "sherd/checkpoint/checkpoint.hpp"
#include "sherd/checkpoint/file_writer.hpp"
#include "sherd/checkpoint/store.hpp"

namespace sherd::bench {
namespace {

using checkpoint::FileWriter;

constexpr std::uint64_t piece = 1 << 20;  // elements

checkpoint::FileImage image_of(std::uint64_t elements) {
  checkpoint::FileImage image{
      "rank-000.bin", {"weights"}, {{1, static_cast<std::int64_t>(elements)}}, {}};
  for (std::uint64_t first = 0; first < elements; first += piece)
    image.pieces.push_back({0, checkpoint::State::param, DType::f32, first, piece});
  return image;
}

// What is read next comes from the disk.
void drop_cache(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  (void)::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  ::close(file);
}

}  // namespace

Checkpoints::Checkpoints(const std::string& folder, std::span<std::byte> memory)
    : root_(folder + "/checkpoints"),
      memory_(memory),
      image_(image_of(memory.size() / 4)),
      store_(io::storage(), root_),
      writer_(std::make_unique<FileWriter>(io::storage(), memory, image_)) {
  store_.enter();
  for (Bytes at = 0; at < memory.size(); at += 4096)
    *reinterpret_cast<std::uint64_t*>(memory.data() + at) = mix(at);
}

Checkpoints::~Checkpoints() {
  std::error_code ignored;
  std::filesystem::remove_all(root_, ignored);
}

void Checkpoints::remove() {
  if (!saved_.empty()) store_.remove(std::exchange(saved_, {}));
}

void Checkpoints::save() {
  const std::string draft = store_.draft(1, ++attempts_);
  writer_->start(draft, {});
  writer_->filled(memory_.size());
  while (writer_->progress() == FileWriter::Progress::writing)
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  if (writer_->progress() != FileWriter::Progress::synced) throw DeviceError(writer_->problem());
  store_.put_part(draft, 0, writer_->contents());
  checkpoint::Manifest manifest;
  manifest.progress.step = manifest.progress.applied = 1;
  Bytes bytes = 0;
  saved_ = store_.publish(draft, std::move(manifest), bytes);
}

void Checkpoints::forget() { drop_cache(saved_ + "/" + image_.name); }

void Checkpoints::load() {
  const checkpoint::Checkpoint from(io::storage(), saved_);
  const checkpoint::Tensor& tensor = from.manifest().contents.tensors.front();
  std::vector<float> values(piece);
  for (std::uint64_t first = 0; first < memory_.size() / 4; first += piece) {
    from.read_weights(tensor, first, values);
    const auto* was = reinterpret_cast<const float*>(memory_.data()) + first;
    if (std::memcmp(values.data(), was, 4096) != 0) ++wrong_;
  }
}

}  // namespace sherd::bench

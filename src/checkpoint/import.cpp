#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <random>
#include <thread>

#include "sherd/base/errors.hpp"
#include "sherd/checkpoint/file_writer.hpp"
#include "sherd/checkpoint/folder.hpp"
#include "sherd/checkpoint/store.hpp"
#include "sherd/memory/arena.hpp"
#include "sherd/model/hugging_face.hpp"

namespace sherd::checkpoint {
namespace {

constexpr std::uint64_t import_chunk = 1 << 20;  // elements

FileImage image_of(const model::ModelSpec& spec) {
  FileImage image;
  image.name = "rank-000.bin";
  for (const model::ParamSpec& param : spec.params) {
    image.names.push_back(param.name);
    image.shapes.push_back(param.shape);
    const auto numel = static_cast<std::uint64_t>(param.shape.numel());
    for (std::uint64_t first = 0; first < numel; first += import_chunk)
      image.pieces.push_back({image.names.size() - 1, State::param, DType::f32, first,
                              std::min(import_chunk, numel - first)});
  }
  return image;
}

void fill(FileWriter& writer, const FileImage& image, std::span<std::byte> ring,
          const model::ModelSpec& spec, const model::Weights& weights) {
  const AbortWord nobody{};
  std::vector<float> values;
  Bytes end = 0;
  for (const Piece& piece : image.pieces) {
    values.resize(piece.count);
    weights.read(spec.params[piece.tensor], piece.first, values);
    const auto bytes = std::as_bytes(std::span(values));
    writer.await_room(end + bytes.size(), nobody);
    const Bytes first = end % ring.size(),
                head = std::min<Bytes>(bytes.size(), ring.size() - first);
    std::memcpy(ring.data() + first, bytes.data(), head);
    std::memcpy(ring.data(), bytes.data() + head, bytes.size() - head);
    end += bytes.size();
    writer.filled(end);
  }
}

std::string new_run() {
  std::random_device bits;
  return fmt::format("{:08x}{:08x}{:08x}{:08x}", bits(), bits(), bits(), bits());
}

}  // namespace

std::string import_folder(io::Storage& storage, const std::string& folder, const std::string& root,
                          const std::string& library) {
  model::ModelConfig config;
  config.model = folder;
  if (!model::names_folder(config)) throw DataError(folder + ": is no folder");
  const model::Network network = model::build(config);
  const model::ModelSpec spec =
      model::declare(network.model, {DeviceKind::cpu, DType::f32, 1}, {1, 1});
  const std::unique_ptr<model::Weights> weights = model::open_weights(config, spec);
  Store store(storage, root);
  store.enter();
  if (!list(storage, root).empty())
    throw ConfigError({"--out: " + root + " holds checkpoints already; give a new folder"});
  const FileImage image = image_of(spec);
  const memory::Arena ring = memory::Arena::anonymous(64 * mib);
  FileWriter writer(storage, ring.bytes(), image);
  const std::string draft = store.draft(0, 1);
  writer.start(draft, {});
  try {
    fill(writer, image, ring.bytes(), spec, *weights);
  } catch (const DataError&) {
    store.discard(draft);
    throw;
  }
  while (writer.progress() == FileWriter::Progress::writing)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  Manifest manifest;
  manifest.run = new_run();
  manifest.library = library;
  manifest.model = network.description;
  manifest.start_weights = weights->fingerprint();
  try {
    if (const std::string problem = writer.problem(); !problem.empty()) throw DataError(problem);
    store.put_part(draft, 0, writer.contents());
    Bytes bytes = 0;
    return store.publish(draft, std::move(manifest), bytes);
  } catch (...) {
    store.discard(draft);
    throw;
  }
}

}  // namespace sherd::checkpoint

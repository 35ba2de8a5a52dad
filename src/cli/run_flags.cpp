#include "cli/run_flags.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "cli/value.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/cli/event_log.hpp"
#include "sherd/model/presets.hpp"

namespace sherd::cli {
namespace {

using launch::Field;
using Problems = std::vector<std::string>;

/// `text` names `flag` itself, not a longer flag that starts with it.
bool mentions(std::string_view text, std::string_view flag) {
  for (std::size_t at = text.find(flag); at != std::string_view::npos;
       at = text.find(flag, at + 1)) {
    const std::size_t end = at + flag.size();
    const char next = end < text.size() ? text[end] : ' ';
    if (next != '-' && (next < 'a' || next > 'z') && (next < '0' || next > '9')) return true;
  }
  return false;
}

bool is_network(const Field& field) {
  return field.concern == launch::Concern::model && field.key != "seed";
}

std::string help_of(const Field& field) {
  const std::string usual = text_of(field);
  std::string help(field.help);
  if (!std::holds_alternative<bool*>(field.slot) && !usual.empty()) help += " [" + usual + "]";
  return help;
}

/// What the preset makes impossible; a folder's content is judged by whoever opens it.
void check_network(const model::ModelConfig& config, Problems& problems) {
  if (model::names_folder(config)) return;
  try {
    (void)model::resolve(config);
  } catch (const ConfigError& error) {
    for (const std::string& problem : error.problems) {
      const std::size_t colon = problem.find(':');
      const std::string start = launch::flag_of(problem.substr(0, colon)) + ":";
      const auto same = [&](const std::string& other) { return other.starts_with(start); };
      if (std::none_of(problems.begin(), problems.end(), same))
        problems.push_back(start + problem.substr(colon + 1));
    }
  }
}

/// Output truncates its file: it must not be what the run reads.
bool is_input(const data::DataConfig& data, const std::string& path) {
  const auto same = [&](const std::string& input) {
    std::error_code absent;
    return std::filesystem::equivalent(input, path, absent);
  };
  return std::any_of(data.data.begin(), data.data.end(), same) ||
         std::any_of(data.val_data.begin(), data.val_data.end(), same);
}

}  // namespace

RunFlags::RunFlags(CLI::App& app, launch::RunConfig& config, RunOptions wanted)
    : CLI::App("", "", nullptr), config_(config), wanted_(wanted) {
  group("");
  disabled();
  for (const Field& field : launch::describe(config_))
    if (wanted_.zoo || !is_network(field)) fields_.push_back(field);
  for (const Field& field : fields_) add_flag_for(app, field);
  const auto on_value = [this](const CLI::results_t&) { return apply_once(); };
  config_file_ = app.add_option("--config", on_value, "read flags from this JSON file");
  config_file_->type_name("FILE")->expected(0, 1)->group("output");
  config_file_->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  print_config_ = app.add_flag("--print-config");
  print_config_->description("print the configuration as JSON, then stop")->group("output");
}

void RunFlags::add_flag_for(CLI::App& app, const Field& field) {
  std::string names = launch::flag_of(field.key);
  if (field.key == "ranks" && wanted_.purpose == launch::Purpose::plan) names += ",--world";
  CLI::Option* option = app.add_option(
      names, [this](const CLI::results_t&) { return apply_once(); }, help_of(field));
  option->group(std::string(launch::concern_names[static_cast<std::size_t>(field.concern)]));
  option->type_name(placeholder_of(field));
  option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  // No value at all is accepted here and refused by read_flag, so that it hides no other problem.
  if (std::holds_alternative<bool*>(field.slot))
    option->type_size(0)->expected(0);
  else if (std::holds_alternative<std::vector<std::string>*>(field.slot))
    option->expected(0, -1)->allow_extra_args();
  else
    option->expected(0, 1);
  options_of_fields_.push_back(option);
}

bool RunFlags::apply_once() {
  if (collected_) return true;
  collect();
  Problems problems;
  apply(problems);
  if (problems.empty()) return true;
  std::string all;
  for (const std::string& problem : problems) all += (all.empty() ? "" : "\n") + problem;
  throw CLI::ValidationError(all);
}

void RunFlags::apply(Problems& problems) {
  blamed_.clear();
  if (config_file_->count() > 0) read_config_file(problems);
  for (std::size_t i = 0; i < fields_.size(); ++i)
    if (options_of_fields_[i]->count() > 0) read_flag(i, problems);
  check_given(problems);
  check_all(problems);
}

void RunFlags::read_config_file(Problems& problems) {
  const std::string path = config_file_->results().front();
  if (config_file_->count() > 1) problems.push_back("--config: given twice");
  if (path.empty()) return problems.push_back("--config: a value is missing, need a JSON file");
  constexpr std::streamsize most = 1 << 20;
  std::ifstream file(path, std::ios::binary);
  std::string text(most + 1, '\0');
  std::error_code ignored;
  if (!file || std::filesystem::is_directory(path, ignored))
    return problems.push_back("--config: cannot read '" + path + "'");
  file.read(text.data(), most + 1);
  if (file.gcount() > most)
    return problems.push_back("--config: '" + path + "' is larger than 1 MiB");
  text.resize(static_cast<std::size_t>(file.gcount()));
  for (KeyProblem& problem : read_fields(text, path, fields_)) {
    if (!problem.key.empty()) blamed_.push_back(problem.key);
    problems.push_back(std::move(problem.sentence));
  }
}

void RunFlags::read_flag(std::size_t index, Problems& problems) {
  const Field& field = fields_[index];
  const CLI::results_t& values = options_of_fields_[index]->results();
  auto* list = std::get_if<std::vector<std::string>*>(&field.slot);
  std::string problem;
  if (list != nullptr) (*list)->clear();
  if (list == nullptr && values.size() > 1) problem = "given twice";
  for (const std::string& value : values) {
    if (!problem.empty()) break;
    problem =
        value.empty() ? "a value is missing, need " + launch::allowed(field) : assign(field, value);
  }
  if (problem.empty()) return;
  blamed_.emplace_back(field.key);
  problems.push_back(launch::flag_of(field.key) + ": " + problem);
}

void RunFlags::check_given(Problems& problems) const {
  if (config_.precision.precision == optim::Precision::fp16) return;
  for (std::size_t i = 0; i < fields_.size(); ++i)
    if (fields_[i].key.starts_with("loss_scale") && options_of_fields_[i]->count() > 0)
      problems.push_back(launch::flag_of(fields_[i].key) + ": needs --precision fp16");
}

void RunFlags::check_all(Problems& problems) const {
  const bool runs = !prints_config() && !config_.output.dry_run;
  Problems found = launch::check(config_, runs ? wanted_.purpose : launch::Purpose::plan);
  if (wanted_.zoo) check_network(config_.model, found);
  if (wanted_.needs_data && runs && config_.data.data.empty())
    found.push_back("--data: needed to train");
  for (const auto& [flag, path] :
       {std::pair{"--log", config_.output.log}, {"--trace", config_.output.trace}}) {
    if (const std::string problem = write_problem(flag, path); !problem.empty())
      found.push_back(problem);
    if (is_input(config_.data, path))
      found.push_back(std::string(flag) + ": '" + path + "' is a file of --data or --val-data");
  }
  const std::string& log = config_.output.log;
  std::error_code ignored;
  const auto place = [&](const std::string& path) {
    return std::filesystem::weakly_canonical(followed(path), ignored);
  };
  const bool a_file =
      !std::filesystem::exists(log, ignored) || std::filesystem::is_regular_file(log, ignored);
  if (!log.empty() && a_file && !config_.output.trace.empty() &&
      place(log) == place(config_.output.trace))
    found.push_back("--trace: '" + log + "' is the file of --log");
  Problems silenced;  // flags that were mistyped already: what follows from that is no news
  for (std::size_t i = 0; i < fields_.size(); ++i) {
    const std::string flag = launch::flag_of(fields_[i].key);
    const auto names_it = [&](const std::string& problem) {
      return mentions(problem, "did you mean " + flag);
    };
    const bool misread = std::find(blamed_.begin(), blamed_.end(), fields_[i].key) != blamed_.end();
    const bool mistyped = options_of_fields_[i]->count() == 0 &&
                          std::any_of(problems.begin(), problems.end(), names_it);
    if (misread || mistyped) silenced.push_back(flag);
  }
  for (std::string& problem : found) {
    const bool known = std::find(problems.begin(), problems.end(), problem) != problems.end();
    const auto is_named = [&](const std::string& flag) { return mentions(problem, flag); };
    if (!known && std::none_of(silenced.begin(), silenced.end(), is_named))
      problems.push_back(std::move(problem));
  }
}

void add_run_options(CLI::App& app, launch::RunConfig& config, RunOptions wanted) {
  app.add_subcommand(std::make_shared<RunFlags>(app, config, wanted));
}

}  // namespace sherd::cli

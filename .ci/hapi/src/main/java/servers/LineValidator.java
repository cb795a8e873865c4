package servers;

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.context.support.IValidationSupport.IssueSeverity;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.ValidationOptions;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.NpmPackageValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.SnapshotGeneratingValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.UnknownCodeSystemWarningValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;
import org.hl7.fhir.instance.model.api.IBaseOperationOutcome;
import org.hl7.fhir.r4.model.OperationOutcome;
import org.hl7.fhir.r5.utils.validation.constants.BestPracticeWarningLevel;

/**
 * HL7's instance validator without a network, asked line by line so that it stays warm.
 *
 * <p>Each line on standard input names a file, or a profile and a file with a tab between; each
 * line on standard output is one OperationOutcome, in the same order. The first line says READY.
 * Property {@code packages}: implementation guides on the class path, in the order of their
 * dependencies, separated by commas.
 */
public final class LineValidator {
    private final FhirContext fhir = FhirContext.forR4();
    private final FhirValidator validator = fhir.newValidator();

    public static void main(String[] args) throws IOException {
        var answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var asked = new LineValidator(System.getProperty("packages", "").split(","));
        answers.println("READY");
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            answers.println(asked.answer(line));
        }
    }

    private LineValidator(String[] packages) throws IOException {
        var module = new FhirInstanceValidator(knowledge(packages));
        module.setAnyExtensionsAllowed(true);
        // Without this, a reference to a resource of the wrong type is not noticed.
        module.setAssumeValidRestReferences(true);
        // Otherwise every resource without narrative has a warning, and real ones drown.
        module.setBestPracticeWarningLevel(BestPracticeWarningLevel.Ignore);
        validator.registerValidatorModule(module);
        // The definitions load with the first question: let that be ours, before READY.
        validator.validateWithResult("{\"resourceType\":\"Patient\"}");
    }

    private ValidationSupportChain knowledge(String[] packages) throws IOException {
        var guides = new NpmPackageValidationSupport(fhir);
        for (String name : packages) {
            if (!name.isBlank()) {
                guides.loadPackageFromClasspath("classpath:" + name.trim());
            }
        }
        // LOINC and SNOMED CT are not here: their codes cannot be judged, which is no error.
        var unknownSystems = new UnknownCodeSystemWarningValidationSupport(fhir);
        unknownSystems.setNonExistentCodeSystemSeverity(IssueSeverity.WARNING);
        return new ValidationSupportChain(
                new DefaultProfileValidationSupport(fhir),
                guides,
                new CommonCodeSystemsTerminologyService(fhir),
                new InMemoryTerminologyServerValidationSupport(fhir),
                new SnapshotGeneratingValidationSupport(fhir),
                unknownSystems);
    }

    private String answer(String line) {
        String[] fields = line.split("\t", 2);
        var options = new ValidationOptions();
        if (fields.length > 1) {
            options.addProfile(fields[0]);
        }
        IBaseOperationOutcome outcome;
        try {
            String content = Files.readString(Path.of(fields[fields.length - 1]));
            outcome = validator.validateWithResult(content, options).toOperationOutcome();
        } catch (IOException | RuntimeException unreadable) {
            outcome = fatal(unreadable.toString());
        }
        return fhir.newJsonParser().encodeResourceToString(outcome);
    }

    /** What is not a resource is answered, too: the next line may be one. */
    private static OperationOutcome fatal(String why) {
        var outcome = new OperationOutcome();
        outcome.addIssue()
                .setSeverity(OperationOutcome.IssueSeverity.FATAL)
                .setCode(OperationOutcome.IssueType.STRUCTURE)
                .setDiagnostics(why);
        return outcome;
    }
}
